"""Which detections of a frame count for a rule or shelf. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Ints
from edge_agent.results import FrameResult
from edge_agent.rules import zones
from edge_agent.rules.settings import Anchor, WatchSection

Indexes = npt.NDArray[np.intp]


def select(section: WatchSection, result: FrameResult, class_ids: Ints | None) -> Indexes:
    """Indexes of the matching detections, most confident first.

    Args:
        class_ids: int32 (K,): the classes that match; None for all.
    """
    found, frame = result.detections, result.frame
    if section.confidence_min is None:
        chosen = result.served
    else:
        chosen = found.confidences >= section.confidence_min
    if class_ids is not None:
        chosen = chosen & np.isin(found.class_ids, class_ids)
    indexes = np.flatnonzero(chosen)
    if not len(indexes):
        return indexes
    # In shares of the picture from here on.
    boxes = found.boxes[indexes] / np.array([frame.width, frame.height] * 2, np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    fits = (areas >= section.area_min_share) & (areas <= section.area_max_share)
    if section.zone is not None:
        fits &= zones.contains(section.zone, anchors(boxes, section.anchor))
    return distinct(result, indexes[fits], section.same_overlap_min)


def distinct(result: FrameResult, indexes: Indexes, overlap_min: float) -> Indexes:
    """Without those that show, as the same class, what a more confident one shows."""
    if len(indexes) < 2:
        return indexes
    import cv2

    found = result.detections
    boxes = found.boxes[indexes]
    kept = cv2.dnn.NMSBoxesBatched(
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist(),
        found.confidences[indexes].tolist(),
        found.class_ids[indexes].tolist(),
        score_threshold=0.0,
        nms_threshold=overlap_min,
    )
    return np.sort(indexes[np.asarray(kept, dtype=np.intp)])


def anchors(boxes: npt.NDArray[np.float64], anchor: Anchor) -> npt.NDArray[np.float64]:
    """The point of each box (N, 4) that says where its object is, (N, 2)."""
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = boxes[:, 3] if anchor == "bottom" else (boxes[:, 1] + boxes[:, 3]) / 2
    return np.stack([x, y], axis=1)
