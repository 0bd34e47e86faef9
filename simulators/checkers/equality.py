"""Whether two programs saw the same in an image, detection by detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.bundles import Thresholds
from simulators.checkers.records import Labelled

BOX_TOLERANCE_PX = 0.5
CONFIDENCE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """How two lists of detections of one image differ.

    Attributes:
        matched: detections that are in both.
        unmatched: those of either side, at or above the threshold, without a partner.
        box_error_px, confidence_error: the largest among the matched.
    """

    matched: int
    unmatched: tuple[Labelled, ...]
    box_error_px: float
    confidence_error: float

    @property
    def equal(self) -> bool:
        return not self.unmatched


def compare(
    seen: Sequence[Labelled], reference: Sequence[Labelled], thresholds: Thresholds
) -> Comparison:
    """Match one to one by class, box (BOX_TOLERANCE_PX) and confidence (CONFIDENCE_TOLERANCE).

    What lies below its class's threshold is served by nobody. A detection within the tolerance
    of the threshold may be on one side only: which side it falls on is within what is allowed.
    """
    free = list(reference)
    pairs: list[tuple[Labelled, Labelled]] = []
    alone: list[Labelled] = []
    for detection in sorted(seen, key=lambda d: -d.confidence):
        near = [r for r in free if _same(detection, r)]
        if not near:
            alone.append(detection)
            continue
        partner = min(near, key=lambda r: _box_error_px(detection, r))
        free.remove(partner)
        pairs.append((detection, partner))

    def served(detection: Labelled) -> bool:
        sure = thresholds.of(detection.class_id) + CONFIDENCE_TOLERANCE
        return detection.confidence >= sure

    return Comparison(
        matched=len(pairs),
        unmatched=tuple(d for d in (*alone, *free) if served(d)),
        box_error_px=max((_box_error_px(a, b) for a, b in pairs), default=0.0),
        confidence_error=max((abs(a.confidence - b.confidence) for a, b in pairs), default=0.0),
    )


def _same(a: Labelled, b: Labelled) -> bool:
    return (
        a.class_id == b.class_id
        and _box_error_px(a, b) <= BOX_TOLERANCE_PX
        and abs(a.confidence - b.confidence) <= CONFIDENCE_TOLERANCE
    )


def _box_error_px(a: Labelled, b: Labelled) -> float:
    return max(abs(x - y) for x, y in zip(a.box, b.box, strict=True))
