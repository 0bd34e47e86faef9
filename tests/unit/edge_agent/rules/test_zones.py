from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.rules.zones import contains, problem

SQUARE = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
L_SHAPE = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
share = st.floats(0, 1, allow_nan=False, width=32)


@given(
    st.lists(st.tuples(share, share), min_size=1, max_size=30), st.sampled_from([SQUARE, L_SHAPE])
)
def test_it_says_of_points_off_the_rim_what_opencv_says(
    points: list[tuple[float, float]], zone: tuple[tuple[float, float], ...]
) -> None:
    contour = np.array(zone, np.float32)
    sides = [cv2.pointPolygonTest(contour, p, True) for p in points]
    clear = [(p, d > 0) for p, d in zip(points, sides, strict=True) if abs(d) > 1e-6]
    answers = contains(zone, np.array([p for p, _ in clear], np.float64).reshape(-1, 2))
    assert answers.tolist() == [inside for _, inside in clear]


@given(share, share, st.floats(0.125, 0.875, width=32))
def test_zones_that_tile_the_picture_share_no_point_and_miss_none(
    x: float, y: float, cut: float
) -> None:
    upper = ((0.0, 0.0), (1.0, 0.0), (1.0, cut), (0.0, cut))
    lower = ((0.0, cut), (1.0, cut), (1.0, 1.0), (0.0, 1.0))
    left, right = (
        ((0.0, 0.0), (cut, 0.0), (0.0, 1.0)),
        ((cut, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
    )
    point = np.array([[x, y]], np.float64)
    assert contains(upper, point)[0] != contains(lower, point)[0]
    assert contains(left, point)[0] != contains(right, point)[0]


def test_the_pictures_rim_belongs_to_the_zone_that_reaches_it() -> None:
    rim = np.array([[0.5, 1.0], [1.0, 0.9], [1.0, 1.0], [0.0, 0.6], [0.5, 1.2]])
    assert contains(((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)), rim).all()


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)), "from corner 1 and from corner 3 meet"),
        (((0.0, 0.0), (1.0, 0.0), (0.0, 0.0)), "two corners of a zone are the same"),
        (((0.0, 0.0), (1.0, 0.0), (0.5, 0.0)), "meet"),
        (((0.0, 0.0), (1.0, 0.0), (0.5, 0.0), (0.5, 1.0)), "meet"),
        (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.0, 1.0)), "meet"),
    ],
)
def test_a_polygon_that_is_not_simple_is_named(
    zone: tuple[tuple[float, float], ...], text: str
) -> None:
    assert text in (problem(zone) or "")


@given(st.lists(st.floats(0.0, 6.28), min_size=3, max_size=12, unique=True))
def test_corners_in_order_around_a_centre_are_simple(angles: list[float]) -> None:
    ordered = sorted(angles)
    gaps = np.diff([*ordered, ordered[0] + 2 * np.pi])
    corners = [(0.5 + 0.4 * float(np.cos(a)), 0.5 + 0.4 * float(np.sin(a))) for a in ordered]
    if gaps.min() > 1e-3:
        assert problem(corners) is None
