"""Perturbations: same dice same image, harder from strength to strength, objects kept in view."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation.coco import ScoredBox
from cloud.evaluation.robustness import (
    FILL,
    PERTURBATIONS,
    STRENGTHS,
    perturb,
    robustness_report,
    rotated,
)

BOX = ScoredBox(2, (40.0, 30.0, 80.0, 60.0))


def picture(height: int = 96, width: int = 128) -> npt.NDArray[np.uint8]:
    """A photograph's stand-in: smooth shades with a sharp bright rectangle at BOX."""
    y, x = np.mgrid[:height, :width]
    shades = np.stack([x, y, x + y], axis=2) * 255 // (height + width)
    image = shades.astype(np.uint8)
    x1, y1, x2, y2 = (int(edge) for edge in BOX.box)
    image[y1:y2, x1:x2] = (250, 250, 250)
    return image


def change(name: str, strength: int, seed: int = 1) -> float:
    image = picture()
    spoiled, _ = perturb(image, (BOX,), name, strength, np.random.default_rng(seed))
    return float(np.abs(spoiled.astype(float) - image).mean())


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_same_dice_give_the_same_image_and_leave_the_original(name: str, strength: int) -> None:
    image = picture()
    kept = image.copy()
    first, boxes = perturb(image, (BOX,), name, strength, np.random.default_rng(7))
    again, _ = perturb(image, (BOX,), name, strength, np.random.default_rng(7))
    assert np.array_equal(first, again)
    assert np.array_equal(image, kept)
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert not np.array_equal(first, image)
    assert len(boxes) == 1
    assert (boxes == (BOX,)) == (name != "rotation")


@pytest.mark.parametrize("name", [n for n in PERTURBATIONS if n != "light"])
def test_strengths_rise(name: str) -> None:
    changes = [np.mean([change(name, s, seed) for seed in range(5)]) for s in STRENGTHS]
    assert (np.diff(changes) > 0).all()


def test_light_goes_down_and_up_in_turns() -> None:
    grey = np.full((8, 8, 3), 120, dtype=np.uint8)
    rng = np.random.default_rng(1)
    means = [float(perturb(grey, (), "light", s, rng)[0].mean()) for s in STRENGTHS]
    assert [mean > 120 for mean in means] == [False, True, False, True, False]


def test_a_rotated_box_still_holds_its_object() -> None:
    image = np.zeros((96, 128, 3), dtype=np.uint8)
    image[30:60, 40:80] = 255
    for degrees in (-5.0, 3.0, 20.0):
        turned, (box,) = rotated(image, (BOX,), degrees)
        rows, columns = np.nonzero(turned[:, :, 0] > 127)
        x1, y1, x2, y2 = box.box
        seen = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.subtract(seen, (x1, y1, x2, y2))).max() <= 1.5
        assert box.class_id == 2


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 120), st.floats(0, 90), st.floats(1, 40), st.floats(1, 40), st.floats(-5, 5))
def test_rotated_boxes_stay_in_the_image_or_are_left_out(
    x: float, y: float, w: float, h: float, degrees: float
) -> None:
    box = ScoredBox(0, (x, y, min(x + w, 128.0), min(y + h, 96.0)))
    _, boxes = rotated(picture(), (box,), degrees)
    for found in boxes:
        x1, y1, x2, y2 = found.box
        assert 0 <= x1 < x2 <= 128
        assert 0 <= y1 < y2 <= 96
    if not boxes:
        assert min(x, y, 128 - x, 96 - y) < 15, "only what touched an edge can leave"


def test_what_is_covered_is_about_the_share() -> None:
    image = np.zeros((400, 400, 3), dtype=np.uint8)
    for strength, share in zip(STRENGTHS, PERTURBATIONS["occlusion"], strict=True):
        spoiled, _ = perturb(image, (), "occlusion", strength, np.random.default_rng(2))
        assert share / 2 < (spoiled == FILL).mean() <= share * 1.05


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((picture(), (), "blur", 6), ValueError),
        ((picture(), (), "blur", 0), ValueError),
        ((picture().astype(float), (), "blur", 1), ValueError),
        ((picture()[:, :, 0], (), "blur", 1), ValueError),
        ((picture(), (), "snow", 1), KeyError),
    ],
)
def test_what_is_no_perturbation_is_refused(
    arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    image, boxes, name, strength = arguments
    with pytest.raises(error):
        perturb(image, boxes, name, strength, np.random.default_rng(1))


def test_the_report_is_relative_to_clean() -> None:
    report = robustness_report(0.8, {"blur": [0.8, 0.6, 0.4, 0.2, 0.0], "noise": [0.4] * 5})
    assert report["mean"] == pytest.approx(0.4)
    assert report["relative"] == pytest.approx(0.5)
    assert report["per_perturbation"]["blur"]["relative"] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert report["per_perturbation"]["noise"]["mean_relative"] == pytest.approx(0.5)
    blind = robustness_report(0.0, {"blur": [0.0, float("nan"), None, 0.0, 0.0]})
    assert blind["relative"] is None
    assert blind["per_perturbation"]["blur"]["map50"][1:3] == [None, None]


def test_a_larger_photograph_is_blurred_as_much_to_the_detector() -> None:
    def softness(side: int) -> float:
        """Width of an edge as share of the side, by how far black and white are mixed."""
        image = np.zeros((side, side, 3), dtype=np.uint8)
        image[:, side // 2 :] = 255
        blurred, _ = perturb(image, (), "blur", 4, np.random.default_rng(1))
        row = blurred[side // 2, :, 0]
        return float(((row > 12) & (row < 243)).sum()) / side

    assert softness(1280) == pytest.approx(softness(640), rel=0.2)
