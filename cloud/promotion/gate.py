"""The gate: whether a candidate may take an incumbent's place. Pure.

It accepts where *every* component is shown to be no worse than its margin: an
intersection-union test, whose size is that of its components without correction (Berger 1982).
It refuses where harm beyond a margin is shown in *any*, which many comparisons would find by
chance, so these are corrected (Holm 1979). Between the two it says that it does not know, and
about how many images would tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from cloud.evaluation.matching import Floats
from cloud.promotion import bootstrap
from cloud.promotion.bootstrap import Estimate, PairedPrecision
from cloud.promotion.pair import PairedEvidence, PairedSet, Side
from cloud.promotion.policy import GatePolicy
from protocol.states import Verdict

POWER = 0.8
IMAGES_TOLD_MAX = 100_000


class Finding(str, Enum):
    """What was found of one component. REPORTED: told, and not judged."""

    HOLDS = "HOLDS"
    HARM = "HARM"
    UNSHOWN = "UNSHOWN"
    REPORTED = "REPORTED"


@dataclass(frozen=True)
class Component:
    """One figure of the verdict.

    Attributes:
        kind: `overall`, `recent`, `class`, `critical`, `robustness`, `calibration`,
            `duplicates`, `latency`, `images`.
        gain: by how much the candidate is better, in the component's unit; negative: worse.
            Against an absolute bar: above the bar.
        low, high: one-sided bounds of the gain, each at the policy's alpha; None without.
        margin: what may be lost.
        p_harm: of "no harm", corrected for all components; None where it has no interval.
        images_needed: labelled images with which this would likely be shown; None: unknown, or
            more images would not help.
    """

    name: str
    kind: str
    finding: Finding
    reason: str
    candidate: float | None = None
    incumbent: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    boxes: int | None = None
    p_harm: float | None = None
    images_needed: int | None = None


@dataclass(frozen=True)
class GateResult:
    """A verdict with everything that it rests on.

    Attributes:
        images, recent_images: how many were looked at.
        more_images: that would likely be needed for a PASS; None: none, or unknown.
    """

    verdict: Verdict
    reason: str
    images: int
    recent_images: int
    components: tuple[Component, ...]
    more_images: int | None = None


@dataclass(frozen=True)
class _Judged:
    """A component with an interval, before many comparisons are corrected for."""

    component: Component
    estimate: Estimate
    images: int


def judge(pair: PairedEvidence, policy: GatePolicy) -> GateResult:
    """The verdict on `pair`. The same evidence and policy give the same verdict, always."""
    golden = pair.golden
    weights = _weights(golden, policy)
    precision = bootstrap.paired_precision(
        golden.candidate.matches,
        None if golden.incumbent is None else golden.incumbent.matches,
        weights,
    )
    judged = [
        *_detection(pair, policy, precision),
        *_recent(pair, policy),
        *_side_effects(golden, policy, weights),
    ]
    components = [
        _enough_images(golden, policy),
        *_settle(judged, policy),
        *_reported(pair, policy, precision),
        *_critical(pair, policy),
        *_robustness(pair, policy),
        *_latency(pair, policy),
    ]
    recent = len(pair.recent.images) if pair.recent else 0
    return _verdict(components, len(golden.images), recent)


def _weights(some: PairedSet, policy: GatePolicy) -> Floats:
    rng = np.random.default_rng(policy.seed)
    return bootstrap.image_weights(some.images, policy.bootstrap_rounds, rng)


def _detection(
    pair: PairedEvidence, policy: GatePolicy, found: PairedPrecision
) -> Iterable[_Judged]:
    """mAP50 over the classes that both know, and each class that has boxes enough."""
    images, names = len(pair.golden.images), pair.class_names
    alone = pair.golden.incumbent is None
    common = [p for p, c in enumerate(found.classes) if alone or c in pair.known]
    if common:
        yield _precision(
            "all classes", "overall", found, common, policy, images=images, alone=alone
        )
    for place, class_id in enumerate(found.classes):
        if found.truth_boxes[place] >= policy.class_boxes_min:
            new = alone or class_id not in pair.known
            yield _precision(
                names[class_id], "class", found, [place], policy, images=images, alone=new
            )


def _recent(pair: PairedEvidence, policy: GatePolicy) -> Iterable[_Judged]:
    recent = pair.recent
    if recent is None or recent.incumbent is None or len(recent.images) < policy.recent_images_min:
        return
    found = bootstrap.paired_precision(
        recent.candidate.matches, recent.incumbent.matches, _weights(recent, policy)
    )
    common = [p for p, c in enumerate(found.classes) if c in pair.known]
    if common:
        name = "all classes, recent random images"
        yield _precision(
            name, "recent", found, common, policy, images=len(recent.images), alone=False
        )


def _precision(
    name: str,
    kind: str,
    found: PairedPrecision,
    places: Sequence[int],
    policy: GatePolicy,
    *,
    images: int,
    alone: bool,
) -> _Judged:
    """A class, or the mean of some; `alone`: against the bar, not the incumbent."""
    one = kind == "class"
    estimate = found.of(places[0], alone=alone) if one else found.overall(places, alone=alone)
    bar = policy.class_map50_bar if one else policy.map50_bar
    margin = policy.class_map50_margin if one else policy.map50_margin
    component = Component(
        name=name,
        kind=kind,
        finding=Finding.UNSHOWN,
        reason="",
        candidate=float(found.candidate[list(places)].mean()),
        incumbent=None if alone else float(found.incumbent[list(places)].mean()),
        margin=0.0 if alone else margin,
        boxes=sum(found.truth_boxes[p] for p in places),
    )
    if alone:
        estimate = Estimate(estimate.value - bar, estimate.error)
    return _Judged(component, estimate, images)


def _side_effects(golden: PairedSet, policy: GatePolicy, weights: Floats) -> Iterable[_Judged]:
    """Calibration and duplicates: less is better."""
    if golden.incumbent is None:
        return
    once = np.ones((1, len(golden.images)))
    for name, kind, measure, margin in (
        ("calibration error", "calibration", bootstrap.calibration_error, policy.ece_rise_max),
        ("duplicate boxes", "duplicates", bootstrap.duplicate_rate, policy.duplicate_rate_rise_max),
    ):
        sides: tuple[Side, Side] = (golden.candidate, golden.incumbent)
        candidate, incumbent = (float(measure(side, once)[0]) for side in sides)
        rounds = measure(sides[1], weights) - measure(sides[0], weights)
        component = Component(name, kind, Finding.UNSHOWN, "", candidate, incumbent, margin=margin)
        estimate = bootstrap.difference(incumbent - candidate, rounds)
        yield _Judged(component, estimate, len(golden.images))


def _settle(judged: Sequence[_Judged], policy: GatePolicy) -> Iterable[Component]:
    """Findings of what has an interval, harm corrected by Holm's method."""
    raw = [j.estimate.p_not_below(-(j.component.margin or 0.0)) for j in judged]
    for item, p_harm in zip(judged, holm(raw), strict=True):
        margin = item.component.margin or 0.0
        low, high = item.estimate.low(policy.alpha), item.estimate.high(policy.alpha)
        finding = (
            Finding.HOLDS
            if low > -margin
            else Finding.HARM
            if p_harm < policy.alpha
            else Finding.UNSHOWN
        )
        component = replace(
            item.component,
            finding=finding,
            gain=item.estimate.value,
            low=low,
            high=high,
            p_harm=p_harm,
            images_needed=None
            if finding is not Finding.UNSHOWN
            else images_needed(item.estimate, margin, policy.alpha, item.images),
        )
        yield replace(component, reason=_words(component))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def images_needed(estimate: Estimate, margin: float, alpha: float, images: int) -> int | None:
    """Images with which a difference as seen would be shown within `margin` four times in five.

    None where the figure lies outside of the margin, so that more of the same cannot help.
    """
    room = estimate.value + margin
    if room <= 0:
        return None
    reach = (bootstrap.quantile(alpha) + bootstrap.quantile(1 - POWER)) * estimate.error
    needed = math.ceil(images * (reach / room) ** 2)
    return min(max(needed, images + 1), IMAGES_TOLD_MAX)


def _words(c: Component) -> str:
    unit = "mAP50" if c.kind in {"overall", "recent"} else "AP50" if c.kind == "class" else "share"
    assert c.gain is not None and c.low is not None and c.high is not None  # noqa: S101
    against = "the bar" if c.incumbent is None else "the incumbent"
    side = "above" if c.gain >= 0 else "below"
    if c.kind in {"calibration", "duplicates"}:
        side = "better than" if c.gain >= 0 else "worse than"
    seen = f"{abs(c.gain):.3f} {unit} {side} {against}"
    allowed = "it" if c.incumbent is None else f"{c.margin:g} below"
    if c.finding is Finding.HOLDS:
        return f"{seen}; at worst {c.low:+.3f}, allowed is {-(c.margin or 0.0):+.3f}"
    if c.finding is Finding.HARM:
        return f"{seen}; at best {c.high:+.3f}, worse than {allowed}"
    more = f"; about {c.images_needed} images would tell" if c.images_needed else ""
    return f"{seen}, but it may be {c.low:+.3f}, allowed is {-(c.margin or 0.0):+.3f}{more}"


def _enough_images(golden: PairedSet, policy: GatePolicy) -> Component:
    count = len(golden.images)
    enough = count >= policy.images_min
    return Component(
        "golden images",
        "images",
        Finding.HOLDS if enough else Finding.UNSHOWN,
        f"{count} labelled images" + ("" if enough else f", {policy.images_min} are needed"),
        candidate=float(count),
        margin=float(policy.images_min),
        images_needed=None if enough else policy.images_min,
    )


def _reported(
    pair: PairedEvidence, policy: GatePolicy, found: PairedPrecision
) -> Iterable[Component]:
    """Classes with few boxes, and few recent images: told, not judged."""
    for place, class_id in enumerate(found.classes):
        boxes = found.truth_boxes[place]
        if boxes < policy.class_boxes_min:
            known = pair.golden.incumbent is not None and class_id in pair.known
            yield Component(
                pair.class_names[class_id],
                "class",
                Finding.REPORTED,
                f"{boxes} boxes are fewer than {policy.class_boxes_min}: not judged",
                candidate=float(found.candidate[place]),
                incumbent=float(found.incumbent[place]) if known else None,
                gain=float(found.difference[place]) if known else None,
                boxes=boxes,
            )
    recent = len(pair.recent.images) if pair.recent else 0
    if recent < policy.recent_images_min:
        reason = f"{recent} labelled random images are fewer than {policy.recent_images_min}"
        yield Component("recent random images", "recent", Finding.REPORTED, f"{reason}: not judged")


def _critical(pair: PairedEvidence, policy: GatePolicy) -> Iterable[Component]:
    if not policy.critical_classes or pair.golden.incumbent is None:
        return
    missed, found = len(pair.newly_missed), len(pair.newly_found)
    yield Component(
        "critical misses",
        "critical",
        Finding.HARM if missed else Finding.HOLDS,
        f"{missed} objects of {', '.join(policy.critical_classes)} that the incumbent finds are "
        f"missed, {found} are newly found",
        gain=float(found - missed),
    )


def _robustness(pair: PairedEvidence, policy: GatePolicy) -> Iterable[Component]:
    if pair.golden.incumbent is None:
        return
    ours, theirs = pair.candidate_robustness, pair.incumbent_robustness
    both = sorted(set(ours or {}) & set(theirs or {}))
    if ours is None or theirs is None or not both:
        finding = Finding.UNSHOWN if policy.robustness_required else Finding.REPORTED
        yield Component("robustness", "robustness", finding, pair.robustness_unshown())
        return
    candidate = math.fsum(ours[name] for name in both) / len(both)
    incumbent = math.fsum(theirs[name] for name in both) / len(both)
    gain, worst = candidate - incumbent, min(both, key=lambda name: ours[name] - theirs[name])
    holds = gain >= -policy.robustness_margin
    yield Component(
        "robustness",
        "robustness",
        Finding.HOLDS if holds else Finding.HARM,
        f"keeps {candidate:.3f} of its mAP50 under perturbation, the incumbent {incumbent:.3f}; "
        f"worst against it: {worst} ({ours[worst] - theirs[worst]:+.3f})",
        candidate=candidate,
        incumbent=incumbent,
        gain=gain,
        margin=policy.robustness_margin,
    )


def _latency(pair: PairedEvidence, policy: GatePolicy) -> Iterable[Component]:
    ours, theirs = pair.candidate_latency, pair.incumbent_latency
    if pair.golden.incumbent is None:
        return
    if ours is None or theirs is None or theirs.median_ms <= 0 or ours.machine != theirs.machine:
        reason = "not measured for both on one kind of machine"
        yield Component("latency", "latency", Finding.UNSHOWN, reason)
        return
    ratio = ours.median_ms / theirs.median_ms
    yield Component(
        "latency",
        "latency",
        Finding.HOLDS if ratio <= policy.latency_ratio_max else Finding.HARM,
        f"{ours.median_ms:.1f} ms, the incumbent {theirs.median_ms:.1f} ms: {ratio:.2f} times, "
        f"allowed are {policy.latency_ratio_max:g}",
        candidate=ours.median_ms,
        incumbent=theirs.median_ms,
        gain=1 - ratio,
        margin=policy.latency_ratio_max - 1,
    )


def _verdict(components: Sequence[Component], images: int, recent: int) -> GateResult:
    harmed = [c.name for c in components if c.finding is Finding.HARM]
    open_ones = [c for c in components if c.finding is Finding.UNSHOWN]
    judged = any(c.kind == "overall" for c in components)
    more = None
    if harmed:
        verdict, reason = Verdict.FAIL, f"worse than allowed: {', '.join(harmed)}"
    elif open_ones or not judged:
        verdict = Verdict.INCONCLUSIVE
        names = ", ".join(c.name for c in open_ones) or "nothing that both know is labelled"
        reason = f"not shown to be as good: {names}"
        needed = [
            c.images_needed and c.images_needed - (recent if c.kind == "recent" else images)
            for c in open_ones
        ]
        more = max((n for n in needed if n), default=None) if all(needed) else None
    else:
        verdict, reason = Verdict.PASS, "every component is shown to be within its margin"
    return GateResult(verdict, reason, images, recent, tuple(components), more)
