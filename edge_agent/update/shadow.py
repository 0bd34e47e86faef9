"""How a candidate sees beside an incumbent: what is counted, and what is judged by it. Pure.

Both saw the same frames, and what is compared is what each would have served. Counts of any
frames add up in any order: they are whole numbers, and sums of values that are rounded so
that adding them loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Floats
from protocol.histograms import milliseconds_histogram
from protocol.messages import ShadowPolicy
from protocol.states import Verdict

IOU_MIN = 0.5
ERROR_SHARE_MAX = 0.01
MS_EMPTY = milliseconds_histogram()
# Multiples of this add up exactly, in any order, up to 2**33.
GRAIN = 2.0**-20

Ious = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What a build would serve of one frame, most confident first.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of the frame.
        names: of the classes, N of them; builds may number their classes differently.
        confidences: float32 (N,), calibrated.
        latency_ms: time in the runtime and the head; None where it says nothing.
    """

    boxes: Floats
    names: tuple[str, ...]
    confidences: Floats
    latency_ms: float | None = None


@dataclass(frozen=True)
class ShadowCounts:
    """What was counted over frames that both builds saw.

    Attributes:
        incumbent_boxes, candidate_boxes: that each would have served.
        matched: pairs of boxes at IoU 0.5, one to one, of whatever class.
        flips: those of them whose classes differ.
        disagreeing: frames with a birth, a miss or a flip.
        errors: frames at which the candidate raised; not in `frames`.
        confidence_shift_sum: how far the calibrated confidences of pairs lie apart, summed.
        incumbent_ms, candidate_ms: latencies in the bins of `milliseconds_histogram`.
        with_frames, with_s, without_frames, without_s: the incumbent's answers and the time
            they took, in stretches with the shadow and without it.
    """

    frames: int = 0
    incumbent_boxes: int = 0
    candidate_boxes: int = 0
    matched: int = 0
    flips: int = 0
    disagreeing: int = 0
    errors: int = 0
    confidence_shift_sum: float = 0.0
    incumbent_ms: tuple[int, ...] = MS_EMPTY.counts
    candidate_ms: tuple[int, ...] = MS_EMPTY.counts
    with_frames: int = 0
    with_s: float = 0.0
    without_frames: int = 0
    without_s: float = 0.0

    @property
    def births(self) -> int:
        """Boxes of the candidate alone."""
        return self.candidate_boxes - self.matched

    @property
    def misses(self) -> int:
        """Boxes of the incumbent alone."""
        return self.incumbent_boxes - self.matched

    @property
    def detections(self) -> int:
        """Boxes that either saw, those that match counted once."""
        return self.incumbent_boxes + self.candidate_boxes - self.matched

    @property
    def agreement(self) -> float:
        """Share of `detections` that match in place and class; 1 where there is none."""
        return (self.matched - self.flips) / self.detections if self.detections else 1.0

    @property
    def class_flips(self) -> float:
        """Share of `matched` whose classes differ; 0 where there is none."""
        return self.flips / self.matched if self.matched else 0.0

    @property
    def confidence_shift(self) -> float:
        """Mean distance of the confidences of pairs; 0 where there is none."""
        return self.confidence_shift_sum / self.matched if self.matched else 0.0

    @property
    def latency_ratio(self) -> float | None:
        """The candidate's median latency of the incumbent's; None where one is not known."""
        candidate, incumbent = median_ms(self.candidate_ms), median_ms(self.incumbent_ms)
        return None if candidate is None or incumbent is None else candidate / incumbent

    @property
    def rate_share(self) -> float | None:
        """The incumbent's rate in stretches with the shadow, of that without; None: unknown."""
        if min(self.with_s, self.without_s) <= 0 or not self.without_frames:
            return None
        return (self.with_frames / self.with_s) / (self.without_frames / self.without_s)

    def merge(self, other: ShadowCounts) -> ShadowCounts:
        """The sum of both; associative and commutative, without loss."""
        summed: dict[str, Any] = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            bins = isinstance(mine, tuple)
            summed[field.name] = (
                tuple(a + b for a, b in zip(mine, theirs, strict=True)) if bins else mine + theirs
            )
        return ShadowCounts(**summed)


@dataclass(frozen=True)
class Judgement:
    """A verdict, its reason in words, and the figures it rests on.

    Figures that are not known are not in `figures`.
    """

    verdict: Verdict
    reason: str
    figures: dict[str, float]


FAILED_FRAME = ShadowCounts(errors=1)
"""One frame at which the candidate raised."""


def compare(incumbent: Seen, candidate: Seen) -> ShadowCounts:
    """Count one frame that both saw."""
    pairs = match(incumbent, candidate)
    flips = sum(incumbent.names[i] != candidate.names[c] for i, c in pairs)
    shifts = (
        abs(float(candidate.confidences[c]) - float(incumbent.confidences[i])) for i, c in pairs
    )
    ours, theirs = len(incumbent.names), len(candidate.names)
    return ShadowCounts(
        frames=1,
        incumbent_boxes=ours,
        candidate_boxes=theirs,
        matched=len(pairs),
        flips=flips,
        disagreeing=int(flips > 0 or len(pairs) < max(ours, theirs)),
        confidence_shift_sum=sum(map(grained, shifts)),
        incumbent_ms=_counted(incumbent.latency_ms),
        candidate_ms=_counted(candidate.latency_ms),
    )


def match(incumbent: Seen, candidate: Seen) -> list[tuple[int, int]]:
    """Pairs (incumbent's box, candidate's box) at IoU 0.5 and above, one to one.

    The candidate's most confident box chooses first, the free box that it overlaps most:
    first among those of its class, and what is left then among all.
    """
    if not (incumbent.names and candidate.names):
        return []
    ious = _ious(candidate.boxes, incumbent.boxes)
    alike = np.array([[c == i for i in incumbent.names] for c in candidate.names])
    order = np.argsort(-candidate.confidences, kind="stable").tolist()
    pairs: list[tuple[int, int]] = []
    for allowed in (alike, np.ones_like(alike)):
        open_ious = np.where(allowed, ious, 0.0)
        for i, c in pairs:
            open_ious[c, :] = open_ious[:, i] = 0.0
        for c in order:
            i = int(open_ious[c].argmax())
            if open_ious[c, i] >= IOU_MIN:
                pairs.append((i, c))
                open_ious[c, :] = open_ious[:, i] = 0.0
    return pairs


def judge(policy: ShadowPolicy, counts: ShadowCounts) -> Judgement:
    """Whether the candidate sees as the incumbent does, by the policy.

    Below the minimum of frames or of detections nothing is known; a candidate that raises
    is judged by the frames alone, for it answers with no detections.
    """
    figures = _figures(counts)
    tried = counts.frames + counts.errors
    if tried >= policy.frames_min and counts.errors > ERROR_SHARE_MAX * tried:
        text = f"the candidate raised at {counts.errors} of {tried} frames"
        return Judgement(Verdict.FAIL, text, figures)
    lacking = _lacking(policy, counts)
    if lacking:
        return Judgement(Verdict.INCONCLUSIVE, "; ".join(lacking), figures)
    faults = _faults(policy, counts)
    if faults:
        return Judgement(Verdict.FAIL, "; ".join(faults), figures)
    text = (
        f"agrees with the incumbent in {counts.agreement:.3f} of {counts.detections} detections "
        f"on {counts.frames} frames"
    )
    return Judgement(Verdict.PASS, text, figures)


def median_ms(counts: tuple[int, ...]) -> float | None:
    """The median (ms) of binned latencies, read within its bin; None where there is none."""
    half, seen, edges = sum(counts) / 2, 0, MS_EMPTY.edges()
    if not half:
        return None
    for place, count in enumerate(counts):
        if count and seen + count >= half:
            low, high = edges[place], edges[place + 1]
            return float(low * (high / low) ** ((half - seen) / count))
        seen += count
    return float(edges[-1])


def grained(value: float) -> float:
    """`value`, rounded so that sums of such values are the same in any order."""
    return round(value / GRAIN) * GRAIN


def _lacking(policy: ShadowPolicy, counts: ShadowCounts) -> list[str]:
    lacking = []
    if counts.frames < policy.frames_min:
        lacking.append(f"{counts.frames} of {policy.frames_min} frames seen")
    if counts.detections < policy.detections_min:
        lacking.append(f"{counts.detections} of {policy.detections_min} detections seen")
    if counts.latency_ratio is None:
        lacking.append("no latency measured")
    return lacking


def _faults(policy: ShadowPolicy, counts: ShadowCounts) -> list[str]:
    ratio = counts.latency_ratio or 0.0
    faults = []
    if counts.agreement < policy.agreement_min:
        faults.append(
            f"agreement {counts.agreement:.3f}, at least {policy.agreement_min:g} wanted: of "
            f"{counts.detections} detections {counts.births} are the candidate's alone, "
            f"{counts.misses} the incumbent's alone, {counts.flips} of another class"
        )
    if counts.class_flips > policy.class_flips_max:
        faults.append(
            f"another class at {counts.class_flips:.3f} of {counts.matched} matched boxes, "
            f"at most {policy.class_flips_max:g} allowed"
        )
    if counts.confidence_shift > policy.confidence_shift_max:
        faults.append(
            f"confidences lie {counts.confidence_shift:.3f} apart, at most "
            f"{policy.confidence_shift_max:g} allowed"
        )
    if ratio > policy.latency_ratio_max:
        faults.append(
            f"{ratio:.2f} x the incumbent's median latency, at most "
            f"{policy.latency_ratio_max:g} allowed"
        )
    return faults


def _figures(counts: ShadowCounts) -> dict[str, float]:
    known: dict[str, float | None] = {
        "shadow_frames": counts.frames,
        "shadow_errors": counts.errors,
        "shadow_detections": counts.detections,
        "shadow_agreement": counts.agreement,
        "shadow_class_flips": counts.class_flips,
        "shadow_births": counts.births,
        "shadow_misses": counts.misses,
        "shadow_confidence_shift": counts.confidence_shift,
        "shadow_latency_ratio": counts.latency_ratio,
        "shadow_rate_share": counts.rate_share,
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def _counted(latency_ms: float | None) -> tuple[int, ...]:
    return MS_EMPTY.counts if latency_ms is None else MS_EMPTY.add((latency_ms,)).counts


def _ious(left: Floats, right: Floats) -> Ious:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    a, b = left.astype(np.float64)[:, None], right.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared: Ious = np.clip(sides, 0.0, None).prod(axis=2)
    both: Ious = _areas(a) + _areas(b) - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)


def _areas(boxes: Ious) -> Ious:
    areas: Ious = np.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None).prod(axis=-1)
    return areas
