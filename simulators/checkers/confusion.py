"""Who was taken for whom: a confusion matrix of detections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from simulators.checkers.records import Labelled

IOU_MIN = 0.5


def confusion(
    images: Iterable[tuple[Sequence[Labelled], Sequence[Labelled]]], classes: int
) -> NDArray[np.int64]:
    """Counts of shape (classes + 1, classes + 1): row = truth, column = seen as.

    The last row counts what was seen where nothing is, the last column what was missed.
    `images` are pairs of (truth, predictions); the most confident prediction chooses
    first, and takes its own class before another one at the same place.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for truth, predictions in images:
        free = list(truth)
        for seen in sorted(predictions, key=lambda p: -p.confidence):
            overlapping = [t for t in free if iou(t.box, seen.box) >= IOU_MIN]
            if not overlapping:
                matrix[classes, seen.class_id] += 1
                continue
            best = max(
                overlapping, key=lambda t: (t.class_id == seen.class_id, iou(t.box, seen.box))
            )
            free.remove(best)
            matrix[best.class_id, seen.class_id] += 1
        for missed in free:
            matrix[missed.class_id, classes] += 1
    return matrix


def iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area of the overlap of two boxes over the area of their union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union
