"""The hub's letterbox is the device's, to the last bit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cloud.building.images import letterbox, prepared, read
from cloud.building.order import OrderRefused
from edge_agent.cameras.images import read_image
from edge_agent.detect.letterbox import Letterbox

FRAMES = [(640, 480), (480, 640), (641, 333), (1, 700), (320, 320), (33, 32), (1920, 1080)]
INPUTS = [(320, 320), (640, 384), (96, 160)]


def frame(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", FRAMES)
@pytest.mark.parametrize(("width", "height"), INPUTS)
def test_tensor_and_boxes_are_those_of_the_device(
    size: tuple[int, int], width: int, height: int
) -> None:
    given = frame(*size)
    shipped = Letterbox(width, height).prepare([given])
    tensor, placed = letterbox(given, width, height)
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor, shipped.tensor)
    boxes = np.array([[3, 5, width - 7, height - 2.5], [0, 0, 1, 1]], np.float32)
    assert np.array_equal(placed.to_frame(boxes), shipped.geometries[0].to_frame(boxes))


def test_a_file_is_read_as_the_device_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), frame(50, 40))
    assert np.array_equal(read(path), read_image(path))
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), frame(50, 40)[:, :, 0])
    assert np.array_equal(read(grey), read_image(grey))


def test_an_image_fills_its_whole_batch(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), frame(64, 64))
    (tensor,) = prepared([path], 64, 32, batch=3)
    assert tensor.shape == (3, 3, 32, 64)
    assert np.array_equal(tensor[0], tensor[2])


def test_what_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(OrderRefused, match=r"a\.png is no image"):
        read(path)
