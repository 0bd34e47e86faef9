"""From a model's output to boxes: one function per kind of head.

Each takes the output of one image and the floor, and answers in input pixels, most
confident first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

DETECTIONS_MAX = 300
CANDIDATES_MAX = 30_000
IOU_THRESHOLD = 0.7
END2END_COLUMNS = 6
BOX_ROWS = 4
# Far outside any frame, and small enough that areas stay finite.
_EDGE_PX_MAX = 1e6
_CLASS_ID_MAX = 2**24
_CLASS_OFFSET_PX = np.float32(7680)


@dataclass(frozen=True)
class RawDetections:
    """Boxes (N, 4) xyxy in input pixels, with confidence, class and margin, each (N,)."""

    boxes: Floats
    confidences: Floats
    class_ids: Ints
    margins: Floats

    def __len__(self) -> int:
        return len(self.confidences)

    def only(self, chosen: npt.NDArray[np.intp]) -> RawDetections:
        """Those at these indices, in their order."""
        return RawDetections(
            self.boxes[chosen],
            self.confidences[chosen],
            self.class_ids[chosen],
            self.margins[chosen],
        )


Head = Callable[[Floats, float], RawDetections]


def parse_end2end(output: Floats, floor: float) -> RawDetections:
    """(N, 6): x1, y1, x2, y2, confidence, class; the model has chosen already.

    The model's top-k runs over anchor x class, so an anchor can appear under several
    classes, with the same box; that is how rivals are known here.
    """
    rows = output[output[:, 4] >= floor]
    boxes = np.clip(rows[:, :4], -_EDGE_PX_MAX, _EDGE_PX_MAX)
    confidences = np.ascontiguousarray(rows[:, 4])
    return RawDetections(
        boxes,
        confidences,
        np.clip(rows[:, 5], -1, _CLASS_ID_MAX).astype(np.int32),
        same_box_margins(boxes, confidences),
    )


def parse_raw(output: Floats, floor: float) -> RawDetections:
    """(4 + classes, anchors): centre x, centre y, width, height, then a score per class.

    An anchor is seen as its best class; boxes of one class that overlap by more than
    IOU_THRESHOLD are suppressed, as Ultralytics' prediction does.
    """
    scores = output[BOX_ROWS:]
    best = scores.max(axis=0)
    chosen = np.flatnonzero(best >= floor)
    if not len(chosen):
        return _none()
    scores, confidences = scores[:, chosen], best[chosen]
    class_ids = scores.argmax(axis=0).astype(np.int32)
    x, y, width, height = np.clip(output[:BOX_ROWS, chosen], -_EDGE_PX_MAX, _EDGE_PX_MAX)
    half_width, half_height = width / 2, height / 2
    boxes = np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)
    # One class lies far from the next, so that none suppresses another. In float32 this moves
    # edges by up to 1/32 px; Ultralytics does so, and near the threshold that decides.
    apart = boxes + class_ids[:, None].astype(np.float32) * _CLASS_OFFSET_PX
    order = _suppress(apart, confidences, IOU_THRESHOLD)[:DETECTIONS_MAX]
    return RawDetections(
        boxes[order], confidences[order], class_ids[order], _score_margins(scores[:, order])
    )


def deduplicate(found: RawDetections, iou: float) -> RawDetections:
    """Of boxes that overlap by more than `iou`, whatever their classes, the most confident."""
    return found.only(_suppress(found.boxes, found.confidences, iou))


def _suppress(boxes: Floats, confidences: Floats, iou: float) -> npt.NDArray[np.intp]:
    """Indices of the boxes (N, 4) that no more confident one overlaps by more than `iou`."""
    import cv2

    corners = boxes.astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    kept = cv2.dnn.NMSBoxes(corners.tolist(), confidences.tolist(), 0.0, iou, top_k=CANDIDATES_MAX)
    return np.asarray(kept, dtype=np.intp).reshape(-1)


HEADS: dict[str, Head] = {"end2end": parse_end2end, "raw": parse_raw}


def same_box_margins(boxes: Floats, confidences: Floats) -> Floats:
    """Distance (N,) of each confidence from its nearest rival with the very same box."""
    margins = confidences.astype(np.float32, copy=True)
    if len(boxes) < 2:
        return margins
    keys = np.ascontiguousarray(boxes).view(np.dtype((np.void, boxes.itemsize * 4))).reshape(-1)
    _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    for shared in np.flatnonzero(counts > 1):
        members = np.flatnonzero(group == shared)
        for member in members:
            rivals = confidences[members[members != member]]
            margins[member] = np.abs(rivals - confidences[member]).min()
    return margins


def _score_margins(scores: Floats) -> Floats:
    """Best minus second best score (N,) of each column of (classes, N)."""
    if scores.shape[0] < 2:
        only: Floats = scores[0]
        return only
    top = np.partition(scores, scores.shape[0] - 2, axis=0)[-2:]
    margins: Floats = top[1] - top[0]
    return margins


def _none() -> RawDetections:
    nothing = np.empty(0, np.float32)
    return RawDetections(np.empty((0, 4), np.float32), nothing, np.empty(0, np.int32), nothing)
