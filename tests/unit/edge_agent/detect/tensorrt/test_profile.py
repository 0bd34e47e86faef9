from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.detect.tensorrt.profile import BATCH_MAX, BatchProfile, batch_profile

sides = st.integers(32, 8192)


@given(st.integers(1, BATCH_MAX), sides, sides)
def test_only_the_batch_varies(batch: int, height: int, width: int) -> None:
    made = batch_profile("images", (-1, 3, height, width), batch)
    rest = (3, height, width)
    assert made == BatchProfile("images", (1, *rest), (batch, *rest), (batch, *rest))


@given(st.integers(1, BATCH_MAX), sides)
def test_a_static_shape_needs_none(batch: int, side: int) -> None:
    assert batch_profile("images", (batch, 3, side, side), batch) is None


@pytest.mark.parametrize(
    ("shape", "batch", "words"),
    [
        ((-1, 3, -1, 640), 1, "fixed height and width"),
        ((-1, 3, 640, -1), 1, "fixed height and width"),
        ((1, -1, 640, 640), 1, "fixed height and width"),
        ((1, 3, 0, 640), 1, "fixed height and width"),
        ((-1, 3, 640), 1, "fixed height and width"),
        ((), 1, "fixed height and width"),
        ((4, 3, 640, 640), 1, "takes 4 frames at once, 1 were asked for"),
        ((1, 3, 640, 640), 4, "takes 1 frames at once, 4 were asked for"),
        ((0, 3, 640, 640), 1, "takes 0 frames"),
        ((-1, 3, 640, 640), 0, "1 to 256"),
        ((-1, 3, 640, 640), 257, "1 to 256"),
    ],
)
def test_other_shapes_are_refused(shape: tuple[int, ...], batch: int, words: str) -> None:
    with pytest.raises(EngineBuildError, match=words):
        batch_profile("images", shape, batch)
