from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cameras.pixels import bgr, fingerprint, orient
from edge_agent.cameras.source import Region
from edge_agent.errors import BadImageError
from tests.fixtures.seeing import image

PIXELS_MAX = 10_000


@pytest.mark.parametrize(
    "picture",
    [
        image(8, 4),
        image(8, 4)[:, :, 0],
        image(8, 4)[:, :, :1],
        np.dstack([image(8, 4), image(8, 4)[:, :, 0]]),
        image(8, 4).astype(np.uint16) << 8,
        image(8, 4)[:, ::-1],
        image(16, 4)[:, ::2],
        image(1, 1),
        image(100, 100),
    ],
)
def test_every_form_leaves_as_one(picture: npt.NDArray[Any]) -> None:
    made = bgr(picture, PIXELS_MAX)
    assert made.dtype == np.uint8
    assert made.shape == (*picture.shape[:2], 3)
    assert made.flags.c_contiguous


def test_what_is_in_form_already_is_not_copied() -> None:
    picture = image()
    assert bgr(picture, PIXELS_MAX) is picture
    assert orient(picture, 0, None) is picture


def test_forms_keep_their_values() -> None:
    picture = image(8, 4)
    alpha = np.dstack([picture, np.zeros((4, 8), np.uint8)])
    assert (bgr(alpha, PIXELS_MAX) == picture).all()
    assert (bgr(picture.astype(np.uint16) << 8, PIXELS_MAX) == picture).all()
    assert (bgr(picture[:, :, 0], PIXELS_MAX) == picture[:, :, :1]).all()


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.zeros((0, 0, 3), np.uint8), "is no picture"),
        (np.zeros((4,), np.uint8), "is no picture"),
        (np.zeros((4, 4, 2), np.uint8), "is no picture"),
        (np.zeros((4, 4, 5), np.uint8), "is no picture"),
        (np.zeros((1, 4, 4, 3), np.uint8), "is no picture"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.full((4, 4, 3), np.nan), "float64"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((101, 100), np.uint8), "over 10000 pixels.*image_pixels_max"),
    ],
)
def test_what_is_no_picture_is_refused(picture: npt.NDArray[Any], says: str) -> None:
    with pytest.raises(BadImageError, match=says):
        bgr(picture, PIXELS_MAX)


shares = st.floats(0, 1, exclude_max=True)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    x, y = draw(shares), draw(shares)
    width = draw(st.floats(0, 1 - x, exclude_min=True))
    return Region(x, y, width, draw(st.floats(0, 1 - y, exclude_min=True)))


@given(
    regions(),
    st.sampled_from([0, 90, 180, 270]),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_a_region_lies_in_the_turned_picture_and_is_never_empty(
    region: Region, rotate: int, width: int, height: int
) -> None:
    picture = image(width, height)
    turned = np.rot90(picture, -rotate // 90)
    seen = orient(picture, rotate, region)
    assert (orient(picture, rotate, None) == turned).all()
    assert seen.flags.c_contiguous
    assert seen.size
    rows, columns = seen.shape[:2]
    assert abs(rows - region.height * turned.shape[0]) <= 1
    assert abs(columns - region.width * turned.shape[1]) <= 1
    top = min(round(region.y * turned.shape[0]), turned.shape[0] - 1)
    left = min(round(region.x * turned.shape[1]), turned.shape[1] - 1)
    assert (seen == turned[top : top + rows, left : left + columns]).all()


@given(st.integers(1, 50), st.floats(0.01, 0.99))
def test_two_regions_that_meet_share_no_pixel_and_leave_none_out(width: int, cut: float) -> None:
    picture = image(max(width, 2), 3)
    left = orient(picture, 0, Region(0, 0, cut, 1))
    right = orient(picture, 0, Region(cut, 0, 1 - cut, 1))
    assert abs(left.shape[1] + right.shape[1] - picture.shape[1]) <= 1
    if round(cut * picture.shape[1]) in range(1, picture.shape[1]):
        assert (np.hstack([left, right]) == picture).all()


def test_the_whole_region_is_the_picture() -> None:
    picture = image()
    assert (orient(picture, 0, Region(0, 0, 1, 1)) == picture).all()


def test_a_fingerprint_follows_content() -> None:
    assert fingerprint(image(seed=1)) == fingerprint(image(seed=1).copy())
    assert fingerprint(image(seed=1)) != fingerprint(image(seed=2))
