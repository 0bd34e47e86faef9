from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.cameras.source import Image
from edge_agent.detect.letterbox import Geometry, Letterbox
from edge_agent.errors import DetectorError
from tests.fixtures.seeing import image

sides = st.integers(1, 4000)
inputs = st.sampled_from([32, 160, 320, 640, 1280])


@given(sides, sides, inputs, inputs)
def test_the_frame_fills_one_side_and_stays_inside(w: int, h: int, iw: int, ih: int) -> None:
    g = Geometry(w, h, iw, ih)
    assert g.inner_width == iw or g.inner_height == ih
    assert 0 <= g.left <= g.left + g.inner_width <= iw
    assert 0 <= g.top <= g.top + g.inner_height <= ih
    # The odd pixel of padding is on the right and below.
    assert g.left == (iw - g.inner_width) // 2
    assert g.top == (ih - g.inner_height) // 2


@given(
    st.integers(16, 4000),
    st.integers(16, 4000),
    inputs,
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=1, max_size=5),
)
def test_boxes_come_back_from_the_input(w: int, h: int, size: int, shares: list[object]) -> None:
    g = Geometry(w, h, size, size)
    boxes = (np.array(shares) * np.array([w, h, w, h])).astype(np.float32)
    back = g.to_frame(g.to_input(boxes))
    assert np.abs(back - boxes).max() <= 1e-3 * max(w, h)


@given(st.integers(1, 2000), st.integers(1, 2000), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_no_box_leaves_the_frame(w: int, h: int, low: float, high: float) -> None:
    boxes = np.array([[low, low, high, high]], dtype=np.float32)
    back = Geometry(w, h, 640, 640).to_frame(boxes)
    assert (back >= 0).all()
    assert (back <= np.array([w, h, w, h])).all()


@settings(max_examples=25)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([np.float32, np.float16]))
def test_the_tensor_is_the_padded_rgb_frame_by_255(w: int, h: int, dtype: type) -> None:
    frame = image(w, h)
    prepared = Letterbox(96, 64, dtype).prepare([frame])
    g = prepared.geometries[0]
    expected = np.full((64, 96, 3), 114, dtype=np.uint8)
    expected[g.top : g.top + g.inner_height, g.left : g.left + g.inner_width] = prepared.inners[0]
    wanted = expected[:, :, ::-1].transpose(2, 0, 1).astype(dtype) / dtype(255)
    assert (prepared.tensor[0] == wanted).all()


def test_memory_used_again_gives_the_same_tensor_after_any_other_frame() -> None:
    letterbox = Letterbox(64, 64)
    wide, tall = image(100, 50), image(50, 100)
    fresh = letterbox.prepare([wide]).tensor.copy()
    spare = letterbox.prepare([tall])
    again = letterbox.prepare([wide], spare)
    assert again.memory is spare.memory
    assert (again.tensor == fresh).all()
    assert letterbox.prepare([wide], Letterbox(32, 32).prepare([wide])).tensor.shape == (
        1,
        3,
        64,
        64,
    )


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(frame: Image) -> None:
    with pytest.raises(DetectorError, match="camera"):
        Letterbox(64, 64).prepare([frame])
