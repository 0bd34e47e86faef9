"""What detectors on a GPU answer, held against what is known, or against the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_agent.detect.detector import Detections, Detector, detect
from tests.fixtures.artifacts import INPUT_SIZE

IMAGES = 16
CERTAIN = 0.25


def seen(detector: Detector, levels: Sequence[int]) -> list[float]:
    """How sure `models.brightness_model` is of frames of these grey levels, in one batch."""
    frames = [np.full((INPUT_SIZE, INPUT_SIZE, 3), level, np.uint8) for level in levels]
    return [float(d.confidences[0]) for d in detector.infer(detector.prepare(frames))]


def check_same_on_photographs(ours: Detector, theirs: Detector, shared_data: Path) -> None:
    """Both see the same objects, half a pixel and a thousandth of confidence apart at most."""
    compared = 0
    for path in sorted((shared_data / "coco128" / "images").rglob("*.jpg"))[:IMAGES]:
        image = np.asarray(cv2.imread(str(path)), dtype=np.uint8)
        one, other = _certain(detect(ours, image)), _certain(detect(theirs, image))
        assert one.class_ids.tolist() == other.class_ids.tolist(), path.name
        if len(other):
            assert np.abs(one.boxes - other.boxes).max() <= 0.5, path.name
            assert np.abs(one.confidences - other.confidences).max() <= 1e-3, path.name
        compared += len(other)
    assert compared > 30


def _certain(found: Detections) -> Detections:
    kept = found.confidences >= CERTAIN
    return Detections(
        found.boxes[kept], found.confidences[kept], found.class_ids[kept], found.margins[kept]
    )
