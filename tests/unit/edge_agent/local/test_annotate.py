from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_agent.detect.detector import Detections
from edge_agent.local.annotate import annotate, colour_of, waiting
from edge_agent.local.view import Zone
from tests.fixtures.seeing import detections, result

GREY = np.full((480, 640, 3), 90, dtype=np.uint8)


def one_box(confidence: float = 0.9) -> Detections:
    box = np.array([[100, 120, 300, 320]], dtype=np.float32)
    return replace(detections((confidence, 0)), boxes=box)


def test_what_was_served_is_drawn_and_the_frame_stays_as_it_is() -> None:
    before = GREY.copy()
    seen = result(one_box(), picture=GREY)
    picture = annotate(seen, (), 1280)
    assert tuple(picture[200, 100]) == colour_of(0)
    assert np.array_equal(GREY, before)
    unserved = annotate(result(one_box(0.1), picture=GREY), (), 1280)
    assert tuple(unserved[200, 100]) == (90, 90, 90)


def test_a_large_frame_is_made_smaller_with_its_boxes() -> None:
    picture = annotate(result(one_box(), picture=GREY), (), 320)
    assert picture.shape == (240, 320, 3)
    assert tuple(picture[100, 50]) == colour_of(0)


def test_zones_are_drawn() -> None:
    zone = Zone("shelf", ((0.5, 0.5), (1, 0.5), (1, 0.75), (0.5, 0.75)))
    picture = annotate(result(one_box(), picture=GREY), (zone,), 1280)
    assert picture[300, 320].min() > 200


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (30, 4, 3)])
def test_odd_frames_and_boxes_outside_are_survived(shape: tuple[int, int, int]) -> None:
    boxes = np.array([[-1e6, -50, 1e6, 1e6]], dtype=np.float32)
    found = replace(detections((0.9, 0)), boxes=boxes)
    seen = result(found, picture=np.zeros(shape, dtype=np.uint8), camera="Kamera-ß")
    picture = annotate(replace(seen, track_ids=np.array([7], dtype=np.int32)), (), 1280)
    assert picture.shape[1] <= 1280


def test_neighbouring_classes_differ() -> None:
    assert len({colour_of(i) for i in range(24)}) == 24


def test_a_camera_without_a_picture_says_so() -> None:
    assert waiting("cam").max() == 200
