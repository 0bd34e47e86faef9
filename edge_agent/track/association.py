"""Which detection continues which track: overlap, and the best assignment. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Floats
from edge_agent.track.motion import Doubles

Indexes = npt.NDArray[np.intp]


def overlaps(left: Doubles, right: Doubles) -> Doubles:
    """Intersection over union of each of `left` (L, 4) with each of `right` (R, 4): (L, R)."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    union = _areas(left)[:, None] + _areas(right)[None, :] - common
    shares: Doubles = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def _areas(boxes: Doubles) -> Doubles:
    areas: Doubles = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    return areas


def assign(similarity: Doubles, minimum: float) -> tuple[Indexes, Indexes]:
    """Pairs of rows and columns with the greatest sum of similarity (R, C), each used once.

    A pair below `minimum` is never made, whatever that costs the sum.
    """
    none = np.empty(0, dtype=np.intp)
    possible = similarity >= minimum
    if not possible.any():
        return none, none
    import lap

    # A forbidden pair costs more than leaving both its row and its column alone.
    costs = np.where(possible, 1.0 - similarity, 2.0)
    _, columns, _ = lap.lapjv(costs, extend_cost=True, cost_limit=1.0)
    rows: Indexes = np.flatnonzero(columns >= 0)
    chosen: Indexes = columns[rows].astype(np.intp)
    return rows, chosen


def distinct(boxes: Floats, ranks: Doubles, overlap_min: float) -> Indexes:
    """Indexes of boxes (N, 4) that overlap none of higher rank (N,) by `overlap_min` or more.

    Boxes of rank 0 are left out.
    """
    import cv2

    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(sizes.tolist(), ranks.tolist(), 0.0, overlap_min)
    return np.asarray(kept, dtype=np.intp)
