"""How far a build's answers on golden frames are from the original's, object by object; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

FLOOR = 0.25
CLEAR = 0.02
"""An object counts as seen and not expected from so much above the floor on."""
CLOSE_PX = 32.0
ALIKE_PX, ALIKE_CONFIDENCE = 4.0, 0.15
"""Within both, two answers tell the same to a person: what a lower precision may still do."""


class Detection(Protocol):
    """A detection of any origin: box (x1, y1, x2, y2) in pixels of the frame."""

    @property
    def class_id(self) -> int: ...
    @property
    def confidence(self) -> float: ...
    @property
    def box(self) -> tuple[float, float, float, float]: ...


@dataclass(frozen=True)
class Parity:
    """Over some frames, of objects that either side sees at or above the floor.

    Attributes:
        objects: of the reference at or above the floor.
        unmatched: objects without a counterpart of their class within 32 px, of either side.
        box_error_px_max: largest distance of corresponding edges of a pair.
        confidence_error_max: largest difference of the confidences of a pair.
        agreement: share of objects that are seen alike, 2 alike / (objects of both sides); None
            where neither side sees any.
    """

    frames: int
    objects: int
    unmatched: int
    box_error_px_max: float
    confidence_error_max: float
    agreement: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    reference: Sequence[Sequence[Detection]],
    shipped: Sequence[Sequence[Detection]],
    floor: float = FLOOR,
) -> Parity:
    """Hold `shipped` against `reference`, each a list of detections for each frame.

    Both should reach below `floor`, so that an object that crosses it is a difference of
    confidence and not one that is lacking.

    Raises:
        ValueError: the two are not of the same frames.
    """
    pairs: list[tuple[Detection, Detection]] = []
    objects = shipped_objects = unmatched = 0
    for wanted, found in zip(reference, shipped, strict=True):
        objects += sum(d.confidence >= floor for d in wanted)
        shipped_objects += sum(d.confidence >= floor for d in found)
        paired, alone = _pairs(wanted, found, floor)
        pairs += [(a, b) for a, b in paired if max(a.confidence, b.confidence) >= floor]
        unmatched += alone
    alike = sum(_px(a, b) <= ALIKE_PX and _off(a, b) <= ALIKE_CONFIDENCE for a, b in pairs)
    # A pair that straddles the floor is an object of both sides, though one counts it below.
    straddling = sum(min(a.confidence, b.confidence) < floor for a, b in pairs)
    total = objects + shipped_objects + straddling
    return Parity(
        frames=len(reference),
        objects=objects,
        unmatched=unmatched,
        box_error_px_max=max((_px(a, b) for a, b in pairs), default=0.0),
        confidence_error_max=max((_off(a, b) for a, b in pairs), default=0.0),
        agreement=2 * alike / total if total else None,
    )


def _pairs(
    reference: Sequence[Detection], shipped: Sequence[Detection], floor: float
) -> tuple[list[tuple[Detection, Detection]], int]:
    """Pairs of the same object, most confident first, and how many objects have no partner."""
    left = list(shipped)
    pairs: list[tuple[Detection, Detection]] = []
    alone = 0
    for wanted in sorted(reference, key=lambda d: -d.confidence):
        rivals = [d for d in left if d.class_id == wanted.class_id and _px(d, wanted) <= CLOSE_PX]
        if rivals:
            nearest = min(rivals, key=lambda d: _px(d, wanted) + CLOSE_PX * _off(d, wanted))
            left.remove(nearest)
            pairs.append((wanted, nearest))
        else:
            alone += wanted.confidence >= floor
    return pairs, alone + sum(d.confidence > floor + CLEAR for d in left)


def _px(one: Detection, other: Detection) -> float:
    """The largest distance between corresponding edges (px)."""
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))


def _off(one: Detection, other: Detection) -> float:
    return abs(one.confidence - other.confidence)
