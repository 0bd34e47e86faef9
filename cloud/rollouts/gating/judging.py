"""The gate of a wave: whether the new build sees as well as the one before it. Pure.

Before and after are held against each other camera by camera, and what happened to cameras that
kept the incumbent at the same time is taken off. A wave passes where every figure is shown to be
within its margin (an intersection-union test: Berger 1982, without correction); it fails where
harm beyond a margin is shown in any figure, of all cameras together or of a single one, which
many comparisons would find by chance, so these are corrected (Holm 1979). Between the two it is
INCONCLUSIVE: it holds, and more frames may tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cloud.promotion.gate import Finding
from cloud.rollouts.gating import counts as gate_counts
from cloud.rollouts.gating.comparing import compare
from cloud.rollouts.gating.component import Component
from cloud.rollouts.gating.evidence import CameraEvidence, DeviceEvidence, Floats, WaveEvidence
from cloud.rollouts.gating.figures import WINDOWS_MIN, in_like_light
from cloud.rollouts.gating.policy import GatePolicy
from protocol.states import Verdict

JUDGED_SHARE_MIN = 0.5
"""Of the wave's cameras with a baseline; a gate that few of them speak at tells of those few."""
GROWTH = 2.0
"""A further test asks for this many times the frames of the one before it."""


@dataclass(frozen=True)
class GateResult:
    """A verdict with everything that it rests on.

    Attributes:
        test: how many tests have been made of growing evidence, with this one; 0: none yet.
        alpha: that this test was made at; see `alpha_of`.
        frames, detections: of the wave after the exchange, in light that its baseline knows;
            detections that are likely right, which is the sum of calibrated confidences.
        cameras, controls: that were looked at.
        cameras_unread: of the wave that were left out, for there are too many.
    """

    verdict: Verdict
    reason: str
    test: int
    alpha: float
    frames: int
    detections: int
    cameras: int
    controls: int
    cameras_unread: int
    components: tuple[Component, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        values = asdict(self)
        values["verdict"] = self.verdict.value
        values["components"] = [component.as_dict() for component in self.components]
        return values

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> GateResult:
        """What `as_dict` gave."""
        own = {name: values[name] for name in cls.__dataclass_fields__}
        own["verdict"] = Verdict(own["verdict"])
        own["components"] = tuple(Component.of(each) for each in own["components"])
        return cls(**own)


def alpha_of(alpha: float, test: int) -> float:
    """What of `alpha` the test of this number spends: 1/2, 1/6, 1/12, ... of it, 1 in all.

    So any number of tests errs with a probability of at most `alpha`, whenever one stops.
    """
    return alpha / (test * (test + 1))


def grown(evidence: WaveEvidence, last: GateResult) -> bool:
    """Whether there is enough more than at `last` for a test of its own."""
    return last.test == 0 or _frames(evidence.cameras) >= GROWTH * last.frames


def judge(evidence: WaveEvidence, policy: GatePolicy, test: int) -> GateResult:
    """The verdict on `evidence`. The same evidence, policy and number give the same, always.

    test: of how many on growing evidence this is the last, from 1 on. Where there is too little
        for any, none is made and the result's `test` is one less.
    """
    cameras = [in_like_light(camera) for camera in evidence.cameras]
    controls = [in_like_light(camera) for camera in evidence.controls]
    after = [camera.after for camera in cameras]
    frames = sum(int(side.frames.sum()) for side in after)
    detections = sum(float(side.worth.sum()) for side in after)
    enough = _enough(cameras, policy, frames, detections)
    tested = all(component.finding is Finding.HOLDS for component in enough)
    alpha = alpha_of(policy.alpha, test)
    components = (
        *enough,
        *(compare(cameras, controls, policy, alpha) if tested else ()),
        *gate_counts.count(evidence.devices, policy),
    )
    verdict, reason = _verdict(components)
    return GateResult(
        verdict=verdict,
        reason=reason,
        test=test if tested else test - 1,
        alpha=alpha,
        frames=frames,
        detections=int(detections),
        cameras=len(cameras),
        controls=len(controls),
        cameras_unread=evidence.cameras_unread,
        components=components,
    )


def carry(last: GateResult, devices: Sequence[DeviceEvidence], policy: GatePolicy) -> GateResult:
    """`last` as it stands while there is not enough more for another test: what is measured is
    as it was found then, what is counted (starts, words of people) is as of now."""
    measured = [c for c in last.components if c.kind not in gate_counts.KINDS]
    components = (*measured, *gate_counts.count(devices, policy))
    verdict, reason = _verdict(components)
    return replace(last, verdict=verdict, reason=reason, components=components)


def _frames(cameras: Sequence[CameraEvidence]) -> int:
    return sum(int(in_like_light(camera).after.frames.sum()) for camera in cameras)


def _enough(
    cameras: Sequence[CameraEvidence], policy: GatePolicy, frames: int, detections: float
) -> list[Component]:
    """Whether there is enough to judge how the wave sees."""
    found = []
    for name, value, least in (
        ("frames", float(frames), policy.frames_min),
        ("detections", detections, policy.detections_min),
    ):
        lacks = value < least
        text = f"{value:.0f} {name} after the exchange" + (f" of {least} needed" if lacks else "")
        finding = Finding.UNSHOWN if lacks else Finding.HOLDS
        found.append(Component(name, name, finding, text, after=value, margin=float(least)))
    return [*found, _coverage(cameras, policy)]


def _coverage(cameras: Sequence[CameraEvidence], policy: GatePolicy) -> Component:
    """How many of the cameras that have a baseline can be held against it."""
    least = policy.camera_frames_min
    based = [c for c in cameras if _speaks(c.before.frames, least)]
    judged = [c for c in based if _speaks(c.after.frames, least)]
    share = len(judged) / len(based) if based else 0.0
    holds = share >= JUDGED_SHARE_MIN
    text = (
        f"{len(judged)} of {len(cameras)} cameras have {least} frames in {WINDOWS_MIN} windows on "
        f"both sides of the exchange, in like light; {len(based)} have a baseline"
    )
    finding = Finding.HOLDS if holds else Finding.UNSHOWN
    return Component("cameras", "cameras", finding, text, before=len(based), after=len(judged))


def _speaks(frames: Floats, least: int) -> bool:
    return len(frames) >= WINDOWS_MIN and float(frames.sum()) >= least


def _verdict(components: Sequence[Component]) -> tuple[Verdict, str]:
    harmed = [c for c in components if c.finding is Finding.HARM]
    lacking = [c for c in components if c.finding is Finding.UNSHOWN]
    if harmed:
        told = "; ".join(f"{c.name}: {c.reason}" for c in harmed[:3])
        more = f"; and {len(harmed) - 3} more" if len(harmed) > 3 else ""
        return Verdict.FAIL, f"worse than allowed: {told}{more}"
    if lacking:
        told = "; ".join(f"{c.name}: {c.reason}" for c in lacking)
        return Verdict.INCONCLUSIVE, f"not shown to see as well: {told}"
    return Verdict.PASS, "every figure is shown to be within its margin"
