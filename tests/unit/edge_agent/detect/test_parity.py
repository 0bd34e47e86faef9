"""The agent sees what Ultralytics' own prediction with the same file sees."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.detect.detector import detect
from tests.fixtures.artifacts import coco_names, load

IMAGES = 40
BOX_TOLERANCE_PX = 0.5
CONFIDENCE_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> Path:
    return shared_data / "weights" / "yolo26n-reconstructed-e2e-640.onnx"


@pytest.fixture(scope="module")
def yolo(weights: Path) -> Any:
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed; it never is on a device")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_OFFLINE", "true")
        from ultralytics import YOLO

        yield YOLO(str(weights), task="detect")


def test_detections_equal_those_of_ultralytics(
    shared_data: Path, weights: Path, yolo: Any, tmp_path: Path
) -> None:
    detector = load(
        tmp_path,
        {"model.onnx": weights.read_bytes()},
        threads=2,
        class_names=coco_names(shared_data),
        input_width=640,
        input_height=640,
    )
    compared = 0
    for path in sorted((shared_data / "coco128" / "images").rglob("*.jpg"))[:IMAGES]:
        image = np.asarray(cv2.imread(str(path)), dtype=np.uint8)
        theirs = yolo.predict(image, conf=0.25, imgsz=640, device="cpu", verbose=False)[0]
        rows = theirs.boxes.data.numpy()
        ours = detect(detector, image)
        kept = ours.confidences > 0.25
        assert kept.sum() == len(rows), path.name
        assert ours.class_ids[kept].tolist() == rows[:, 5].tolist(), path.name
        if len(rows):
            assert np.abs(ours.boxes[kept] - rows[:, :4]).max() <= BOX_TOLERANCE_PX
            assert np.abs(ours.confidences[kept] - rows[:, 4]).max() <= CONFIDENCE_TOLERANCE
        compared += len(rows)
    detector.close()
    assert compared > 100
