"""Before and after the exchange: of all cameras together, and of each by itself. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloud.promotion.gate import POWER, Finding, holm
from cloud.rollouts.gating.component import Component
from cloud.rollouts.gating.evidence import CameraEvidence, Floats
from cloud.rollouts.gating.figures import KINDS, Bools, Kind, Measured, measure, same_hour
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.gating.resampling import Estimate, moderated, t_quantile

PEERS_MIN = 3
"""Cameras from which a common shift can be told from one of a single camera."""
SCENE: frozenset[Kind] = frozenset({"detections", "class_mix"})
"""What a scene can change alone: how many things come by, and which."""
LOST_MAX = 0.5
THINGS_MIN = 0.5
"""Of the things that came by before; below it the scene is another one."""
THINGS_AS_BEFORE = 0.8
NAMES: Mapping[Kind, tuple[str, str]] = {
    "confidence": ("mean confidence", "confidence"),
    "detections": ("detections per frame", "detection_rate"),
    "class_mix": ("class mix", "class_mix"),
    "latency": ("p95 latency", "latency"),
    "dropped": ("dropped frames", "dropped"),
}


@dataclass(frozen=True)
class _Compared:
    """A comparison before many of them are corrected for.

    Attributes:
        required: it has to be shown to hold; else it can only do harm.
        harms: harm may be told: no scene alone explains it.
        p_harm: before correction.
    """

    component: Component
    estimate: Estimate
    required: bool
    harms: bool
    p_harm: float


def compare(
    cameras: Sequence[CameraEvidence],
    controls: Sequence[CameraEvidence],
    policy: GatePolicy,
    alpha: float,
) -> list[Component]:
    """All figures of the wave, and those of single cameras that are harmed; `alpha` of the test."""
    both = [*cameras, *controls]
    measured = measure(both, policy.camera_frames_min)
    margins = _margins(policy)
    hours = bool(cameras) and sum(map(same_hour, cameras)) >= len(cameras) / 2
    found: list[_Compared] = []
    lacking: list[Component] = []
    for kind in KINDS:
        figures = measured[kind]
        if not figures.known[: len(cameras)].any():
            lacking.append(_unmeasured(kind, margins[kind]))
            continue
        harm = _of_harm(kind, margins[kind], policy)
        found.append(_together(figures, len(cameras), margins[kind], harm, hours=hours))
        found.extend(_alone(figures, cameras, _of_one(kind, margins[kind], policy)))
    return [*lacking, *_settled(found, alpha)]


def _margins(policy: GatePolicy) -> dict[Kind, float]:
    return {
        "confidence": policy.confidence_drop_max,
        "detections": policy.detections_drop_max,
        "class_mix": policy.class_mix_shift_max,
        "latency": math.log(policy.p95_latency_ratio_max),
        "dropped": policy.dropped_rise_max,
    }


def _of_harm(kind: Kind, margin: float, policy: GatePolicy) -> float:
    """Beyond what a figure of the wave tells harm; up to there two calibrators may differ."""
    return max(margin, policy.confidence_harm_min) if kind == "confidence" else margin


def _of_one(kind: Kind, margin: float, policy: GatePolicy) -> float:
    """What a single camera may lose; half of all that it detects is too much at any factor."""
    wide = policy.camera_factor * margin
    return max(margin, min(wide, LOST_MAX)) if kind in {"detections", "class_mix"} else wide


def _unmeasured(kind: Kind, margin: float) -> Component:
    name, shown = NAMES[kind]
    reason = "no camera showed enough on both sides of the exchange"
    return Component(name, shown, Finding.UNSHOWN, reason, margin=_told(kind, margin))


def _together(
    figures: Measured, count: int, margin: float, harm: float, *, hours: bool
) -> _Compared:
    """The mean over the wave's cameras, less that over the controls."""
    wave, control = _means(figures.known, count)
    component = _component(figures, wave, control, margin)
    weights = wave - control
    others = np.where(np.arange(len(wave)) < count, False, figures.known)
    told = figures.kind not in SCENE or bool(control.any()) or hours
    return _Compared(
        component=component,
        estimate=figures.over(weights),
        required=True,
        harms=told and (hours or _is_busy(figures, wave > 0, others)),
        p_harm=figures.over(weights, certain=True).p_above(harm),
    )


def _alone(
    figures: Measured, cameras: Sequence[CameraEvidence], margin: float
) -> Iterable[_Compared]:
    """Each camera by itself; what a scene can change also beside the others of the wave."""
    wave, control = _means(figures.known, len(cameras))
    places = np.flatnonzero(wave).tolist()
    if len(places) < 2:  # it is the wave
        return
    own = np.eye(len(wave))
    errors = [figures.over(own[place] - control) for place in places]
    mean_error = math.sqrt(sum(each.error**2 for each in errors) / len(errors))
    for place in places:
        peers = np.where(wave > 0, 1 / (len(places) - 1), 0.0)
        peers[place] = 0.0
        scene = figures.kind in SCENE and not control.any()
        busy = _is_busy(figures, own[place] > 0, figures.known & (own[place] == 0))
        against = [own[place] - control, *([own[place] - peers] if scene else [])]
        tails = [
            moderated(figures.over(one, certain=True), mean_error, len(places)).p_above(margin)
            for one in against
        ]
        yield _Compared(
            component=_component(figures, own[place], control, margin, cameras[place].name),
            estimate=figures.over(own[place] - control),
            required=False,
            harms=busy and (not scene or len(places) > PEERS_MIN),
            p_harm=max(tails),
        )


def _is_busy(figures: Measured, own: Bools, others: Bools) -> bool:
    """Whether things still come by at the cameras `own`, or at the `others` (C,), as before.

    Where hardly any come by, what is left is background: confidences and classes tell of that,
    at any build. Where they do at other cameras, it is the build that sees none.
    """
    if figures.kind not in {"confidence", "class_mix"}:
        return True
    return _things(figures, own) >= THINGS_MIN or _things(figures, others) >= THINGS_AS_BEFORE


def _things(figures: Measured, of: Bools) -> float:
    """How many times as many things as before come by at the cameras `of`; 0: not known."""
    chosen = figures.things[of & np.isfinite(figures.things)]
    return float(chosen.mean()) if len(chosen) else 0.0


def _means(known: Bools, count: int) -> tuple[Floats, Floats]:
    """Weights of the mean over the wave's cameras, and over the controls where they are enough."""
    wave, control = known.astype(np.float64), known.astype(np.float64)
    wave[count:], control[:count] = 0.0, 0.0
    if control.sum() < PEERS_MIN:
        control[:] = 0.0
    return wave / max(wave.sum(), 1.0), control / max(control.sum(), 1.0)


def _component(
    figures: Measured, of: Floats, control: Floats, margin: float, camera: str = ""
) -> Component:
    """The figure of the cameras `of`, without what is found of it."""
    name, shown = NAMES[figures.kind]
    return Component(
        f"{name} of {camera}" if camera else name,
        shown,
        Finding.UNSHOWN,
        "",
        camera=camera,
        before=_side(figures.kind, figures.before, of),
        after=_side(figures.kind, figures.after, of),
        margin=margin,
        cameras=int((of > 0).sum()),
        controls=int((control > 0).sum()),
    )


def _side(kind: Kind, values: Floats, of: Floats) -> float | None:
    """The figure's mean over the cameras `of`; a class mix has none, only a distance."""
    if kind == "class_mix":
        return None
    chosen = of > 0
    value = float(of[chosen] @ values[chosen, 0])
    return math.exp(value) if kind == "latency" else value


def _settled(found: Sequence[_Compared], alpha: float) -> Iterable[Component]:
    """Findings, harm corrected by Holm's method; of single cameras only the harmed."""
    corrected = holm([c.p_harm if c.harms else 1.0 for c in found])
    for each, p_harm in zip(found, corrected, strict=True):
        component, estimate = each.component, each.estimate
        margin = component.margin or 0.0
        reach = estimate.reach(alpha)
        low, high = estimate.value - reach, estimate.value + reach
        harm = each.harms and p_harm < alpha
        holds = high < margin or (estimate.error == 0 and estimate.value <= margin)
        if not (harm or each.required):
            continue
        finding = Finding.HARM if harm else Finding.HOLDS if holds else Finding.UNSHOWN
        settled = replace(
            component,
            finding=finding,
            shift=_told_by(component.kind, estimate.value),
            low=_told_by(component.kind, low),
            high=_told_by(component.kind, high),
            margin=_told_by(component.kind, margin),
            p_harm=p_harm,
            frames_factor=None if holds else _factor(estimate, margin, alpha),
        )
        yield replace(settled, reason=_words(settled, alone=not each.harms))


def _told(kind: Kind, value: float) -> float:
    return math.expm1(value) if kind == "latency" else value


def _told_by(shown: str, value: float) -> float:
    """Latencies are compared by their logarithms and told by their ratios, less 1."""
    return _told("latency", value) if shown == "latency" else value


def _factor(estimate: Estimate, margin: float, alpha: float) -> float | None:
    """How many times the frames would likely show a shift as seen to be within `margin`."""
    room = margin - estimate.value
    if room <= 0 or estimate.error <= 0:
        return None
    freedom = estimate.freedom
    reach = (t_quantile(alpha, freedom) + t_quantile(1 - POWER, freedom)) * estimate.error
    return max(1.0, (reach / room) ** 2)


def _words(c: Component, *, alone: bool) -> str:
    assert c.shift is not None and c.low is not None and c.high is not None  # noqa: S101
    sides = "" if c.before is None else f"{c.before:.3f} before, {c.after:.3f} after; "
    against = f" less that of {c.controls} controls" if c.controls else ""
    seen = f"{sides}shift {c.shift:+.3f}{against} ({c.low:+.3f} to {c.high:+.3f})"
    allowed = f"allowed is {c.margin or 0.0:+.3f}"
    if c.finding is Finding.UNSHOWN and alone and c.low > (c.margin or 0.0):
        return (
            f"{seen}, {allowed}; the scene alone may have changed so, and there are no "
            f"{PEERS_MIN} cameras with the incumbent, nor the same hour of the day before, to tell"
        )
    if c.finding is Finding.UNSHOWN and c.kind == "confidence" and c.low > (c.margin or 0.0):
        return f"{seen}, {allowed}; two calibrators alone may differ so: a person decides"
    more = ""
    if c.finding is Finding.UNSHOWN and c.frames_factor:
        more = f"; about {c.frames_factor:.1f} times the frames would tell"
    return f"{seen}, {allowed}{more}"
