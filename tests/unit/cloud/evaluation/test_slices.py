"""Slices: every image in those it belongs to, and none in what is not known of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.evaluation.slices import LIGHTING, lighting, members, weights


@pytest.mark.parametrize(
    ("luminance", "name"),
    [(0, "dark"), (59.99, "dark"), (60, "normal"), (189.9, "normal"), (190, "bright"),
     (255, "bright")],
)  # fmt: skip
def test_light_has_fixed_bounds(luminance: float, name: str) -> None:
    assert lighting(luminance) == name


@given(st.floats(0, 255))
def test_every_luminance_lies_in_the_bounds_of_its_name(luminance: float) -> None:
    low, high = LIGHTING[lighting(luminance)]
    assert low <= luminance < high


def test_images_fall_into_what_is_known_of_them() -> None:
    tags = [{"site": "a", "camera": "north"}, {"site": "a", "camera": ""}, {"site": "b"}]
    assert members(tags, [10, None, 100]) == {
        "camera": {"north": [0]},
        "lighting": {"dark": [0], "normal": [2]},
        "site": {"a": [0, 1], "b": [2]},
    }
    assert members([], []) == {}
    with pytest.raises(ValueError, match="zip"):
        members(tags, [10])


def test_a_slice_is_a_weight_of_its_images() -> None:
    assert weights([[0, 2], [1]], 3).tolist() == [[1, 0, 1], [0, 1, 0]]
