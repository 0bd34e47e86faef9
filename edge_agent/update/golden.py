"""Whether a build sees in its golden frames what it saw when it was made, whether what it
says can be true of any frame, and whether it is quick enough; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocol.bundles import (
    GoldenDetection,
    GoldenFrame,
    GoldenOutcome,
    GoldenSet,
    Thresholds,
)

CLOSE_PX = 32.0
EVERYTHING = 300
"""Detections of one frame: as many as a detector can answer at all."""
OUTSIDE_SHARE_MAX = 0.5
LATENCY_NOISE_MS = 1.0
"""No line notices less, and clocks of small models differ by about so much."""


@dataclass(frozen=True)
class Seen:
    """What was seen in one golden frame of so many pixels."""

    width: int
    height: int
    detections: tuple[GoldenDetection, ...]


def answers_sense(
    golden: GoldenSet, seen: Sequence[Seen], classes: int, thresholds: Thresholds
) -> str:
    """Why no working detector answers so, or "": whatever the golden frames expect.

    Looked for are classes that the bundle does not name, frames full of what would be served,
    boxes outside their frame, and nothing at all where something would be served. (Numbers
    that are none never come so far: the detector itself refuses them.)
    """
    for frame, found in zip(golden.frames, seen, strict=False):
        for reason in _nonsense(found, classes, thresholds):
            return f"{frame.image}: {reason}"
    expected = sum(
        d.confidence >= thresholds.of(d.class_id) + golden.confidence_tolerance
        for f in golden.frames
        for d in f.detections
    )
    if expected and not any(_served(found, thresholds) for found in seen):
        return f"it finds nothing, where {expected} objects are expected"
    return ""


def slower(candidate_ms: float, incumbent_ms: float, ratio_max: float) -> str:
    """Why a candidate of this latency is too slow beside the incumbent, or ""."""
    allowed_ms = max(incumbent_ms * ratio_max, incumbent_ms + LATENCY_NOISE_MS)
    if candidate_ms <= allowed_ms:
        return ""
    return (
        f"it takes {candidate_ms:.1f} ms for a frame, the bundle that serves "
        f"{incumbent_ms:.1f} ms; limits.proof_latency_ratio_max is {ratio_max:g}"
    )


def _nonsense(found: Seen, classes: int, thresholds: Thresholds) -> Iterator[str]:
    for detection in found.detections:
        if detection.class_id >= classes:
            yield f"it answers class {detection.class_id}, where the bundle names {classes}"
    served = _served(found, thresholds)
    if len(served) >= EVERYTHING:
        yield f"it finds everything: {len(served)} objects that would be served"
    outside = [d for d in served if not _touches(d, found)]
    if len(outside) > OUTSIDE_SHARE_MAX * len(served):
        yield f"{len(outside)} of {len(served)} boxes lie outside the frame: {_name(outside[0])}"


def _served(found: Seen, thresholds: Thresholds) -> list[GoldenDetection]:
    return [d for d in found.detections if d.confidence >= thresholds.of(d.class_id)]


def _touches(detection: GoldenDetection, found: Seen) -> bool:
    """Whether any of the box lies in the frame; edges are clipped to it before."""
    x1, y1, x2, y2 = detection.box
    return min(x2, found.width) > max(x1, 0.0) and min(y2, found.height) > max(y1, 0.0)


@dataclass
class _Tally:
    confidence_error_max: float = 0.0
    box_error_px_max: float = 0.0


def compare(golden: GoldenSet, seen: Sequence[Sequence[GoldenDetection]]) -> GoldenOutcome:
    """Hold what was seen in each golden frame against what is expected of it.

    Every expected detection at or above the floor needs one of its class within both
    tolerances, each seen one serves once; and nothing else may be seen clearly above the
    floor. `seen` has one list per golden frame.
    """
    tally = _Tally()
    reason = "" if len(seen) == len(golden.frames) else "not every golden frame was run"
    for frame, found in zip(golden.frames, seen, strict=False):
        reason = reason or _compare_frame(golden, frame, list(found), tally)
    return GoldenOutcome(
        passed=not reason,
        frames=len(golden.frames),
        reason=reason,
        confidence_error_max=tally.confidence_error_max,
        box_error_px_max=tally.box_error_px_max,
    )


def _compare_frame(
    golden: GoldenSet, frame: GoldenFrame, left: list[GoldenDetection], tally: _Tally
) -> str:
    expected = [d for d in frame.detections if d.confidence >= golden.confidence_floor]
    for wanted in sorted(expected, key=lambda d: -d.confidence):
        rivals = [d for d in left if d.class_id == wanted.class_id and _px(d, wanted) <= CLOSE_PX]
        if not rivals:
            return f"{frame.image}: {_name(wanted)} is not seen"
        nearest = min(rivals, key=lambda d: _distance(golden, d, wanted))
        left.remove(nearest)
        tally.box_error_px_max = max(tally.box_error_px_max, _px(nearest, wanted))
        tally.confidence_error_max = max(tally.confidence_error_max, _off(nearest, wanted))
        if _px(nearest, wanted) > golden.box_tolerance_px:
            return f"{frame.image}: {_name(wanted)} lies {_px(nearest, wanted):.1f} px off"
        if _off(nearest, wanted) > golden.confidence_tolerance:
            return f"{frame.image}: {_name(wanted)} is seen at {nearest.confidence:.3f}"
    clear = golden.confidence_floor + golden.confidence_tolerance
    extra = next((d for d in left if d.confidence > clear), None)
    return "" if extra is None else f"{frame.image}: {_name(extra)} is seen and not expected"


def _distance(
    golden: GoldenSet, found: GoldenDetection, wanted: GoldenDetection
) -> tuple[bool, float, float]:
    """Order of candidates: those within both tolerances first, then by box and confidence."""
    px, off = _px(found, wanted), _off(found, wanted)
    outside = px > golden.box_tolerance_px or off > golden.confidence_tolerance
    return outside, px, off


def _px(one: GoldenDetection, other: GoldenDetection) -> float:
    """The largest distance between corresponding edges (px)."""
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))


def _off(one: GoldenDetection, other: GoldenDetection) -> float:
    return abs(one.confidence - other.confidence)


def _name(detection: GoldenDetection) -> str:
    x1, y1, x2, y2 = (round(edge) for edge in detection.box)
    return f"class {detection.class_id} at {detection.confidence:.3f} in ({x1}, {y1}, {x2}, {y2})"
