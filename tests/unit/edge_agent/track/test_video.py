"""Bottles that a hand puts down and takes away, as real weights see them.

By eye the film shows seven stays of bottles: on the left frames 0 to 205, 341 to 529 and from
819 on, in the middle 0 to 529 and from 663 on, on the right 0 to 955 and from 1041 on. The
model has no NMS and often shows a bottle twice.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.detect.detector import detect
from edge_agent.track.settings import TrackingSection
from edge_agent.track.tracker import Seen, Tracker
from tests.fixtures.artifacts import coco_names, load

pytest.importorskip("lap", reason="the assignment is lap's")
pytest.importorskip("yaml", reason="the names of the real classes are in a YAML file")

EVERY = 6
FPS = 29.8
STAYS = 7
SWITCH_PX = 40.0


def test_each_stay_of_a_bottle_has_one_id(shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "weights" / "yolo26n-reconstructed-e2e-640.onnx"
    names = coco_names(shared_data)
    size: dict[str, Any] = {"input_width": 640, "input_height": 640}
    files = {"model.onnx": weights.read_bytes()}
    detector = load(tmp_path, files, threads=2, class_names=names, **size)
    bottle, tracker = names.index("bottle"), Tracker(TrackingSection())
    centres: dict[int, list[float]] = defaultdict(list)
    film = cv2.VideoCapture(str(shared_data / "video" / "bottle-detection.mp4"))
    index, served = 0, 0
    while film.grab():
        if index % EVERY == 0:
            found = detect(detector, np.asarray(film.retrieve()[1], np.uint8))
            sure = found.confidences >= 0.25
            served += int((sure & (found.class_ids == bottle)).sum())
            seen = Seen(found.boxes, found.confidences, found.class_ids, sure)
            ids = tracker.update(seen, EVERY, index / FPS)
            for i in np.flatnonzero((ids >= 0) & (found.class_ids == bottle)):
                centres[int(ids[i])].append(float(found.boxes[i, [0, 2]].mean()))
        index += 1
    film.release()
    assert served > 400
    assert len(centres) == STAYS
    assert all(np.abs(np.diff(x)).max() < SWITCH_PX for x in centres.values()), "places are apart"
    assert sum(map(len, centres.values())) > 0.7 * served, "the rest are second boxes"
