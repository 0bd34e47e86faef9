"""Whether a build sees in its golden frames what it saw when it was made; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.bundles import GoldenDetection, GoldenFrame, GoldenOutcome, GoldenSet

CLOSE_PX = 32.0


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
