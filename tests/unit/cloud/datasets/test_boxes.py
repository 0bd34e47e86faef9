"""Labels: shares and pixels are the same box, and a bad line says what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.datasets.boxes import LabelBox, from_pixels, parse_line

side = st.integers(8, 8000)
share = st.floats(0.001, 1)


@given(st.integers(0, 99), st.floats(0, 1), st.floats(0, 1), share, share, side, side)
def test_to_pixels_and_back_is_the_same_box(
    class_id: int, x: float, y: float, w: float, h: float, width_px: int, height_px: int
) -> None:
    box = LabelBox(class_id, x, y, w, h)
    back = from_pixels(class_id, box.to_pixels(width_px, height_px), width_px, height_px)
    assert back == pytest.approx(box, abs=1e-9)


@given(st.integers(0, 9), st.floats(0.3, 0.7), st.floats(0.3, 0.7), st.floats(0.01, 0.5))
def test_a_written_line_is_read_back(class_id: int, x: float, y: float, size: float) -> None:
    box = LabelBox(class_id, x, y, size, size)
    assert parse_line(box.line(), 10) == pytest.approx(box, abs=1e-7)


def test_pixels_of_a_known_box() -> None:
    assert LabelBox(0, 0.5, 0.25, 0.5, 0.5).to_pixels(200, 100) == (50, 0, 150, 50)


@given(st.text(max_size=80), st.integers(1, 10))
def test_any_text_is_a_box_or_a_value_error(text: str, classes: int) -> None:
    try:
        box = parse_line(text, classes)
    except ValueError:
        return
    assert 0 <= box.class_id < classes
    assert box.width > 0 < box.height


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.5 0.5 0.1", "4 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 fields"),
        ("cat 0.5 0.5 0.1 0.1", "whole class number"),
        ("0.5 0.5 0.5 0.1 0.1", "whole class number"),
        ("2 0.5 0.5 0.1 0.1", "class 2 is out of range; data.yaml names 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "out of range"),
        ("0 nan 0.5 0.1 0.1", "finite"),
        ("0 0.5 0.5 0 0.1", "above 0"),
        ("0 0.5 0.5 -0.1 0.1", "above 0"),
        ("0 320 240 32 32", "shares of the image"),
        ("0 0.99 0.5 0.2 0.1", "outside"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_line(line, 2)
