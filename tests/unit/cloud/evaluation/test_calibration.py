"""Calibration: what it promises on images it has not seen, and where it keeps its hands off."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation import calibration
from cloud.evaluation.calibration import POINTS_MAX, Samples, expected_calibration_error, fit
from cloud.evaluation.coco import ScoredBox, ScoredImage
from cloud.evaluation.matching import Bools, Floats, match


def detections(truth_of: str, count: int = 3000, images: int = 60, seed: int = 1) -> Samples:
    """Confidences whose being right follows a known rule of them."""
    rng = np.random.default_rng(seed)
    raw = rng.uniform(0.05, 1, count)
    rules = {"overconfident": raw**3, "stepped": np.where(raw > 0.6, 0.9, 0.1), "honest": raw}
    return Samples(raw, rng.random(count) < rules[truth_of], np.arange(count) % images)


def test_an_overconfident_build_is_brought_down() -> None:
    found = fit(detections("overconfident"))
    assert found.calibration is not None
    assert found.method in {"isotonic", "platt"}
    assert found.ece_raw is not None and found.ece_held_out is not None
    assert found.ece_raw > 0.2
    assert found.ece_held_out < 0.05
    fresh = detections("overconfident", seed=2)
    shipped = calibration.apply(found.calibration, fresh.confidences)
    error = expected_calibration_error(shipped, fresh.correct)
    assert error is not None and error < 0.05
    assert found.as_dict()["log_loss"][found.method] == min(found.log_loss.values())


def test_a_step_is_isotonic() -> None:
    found = fit(detections("stepped"))
    assert found.method == "isotonic"
    assert "least held-out log loss" in found.reason


def test_an_honest_build_is_not_made_worse() -> None:
    found = fit(detections("honest"))
    assert found.log_loss[found.method] <= found.log_loss["identity"]
    assert found.ece_held_out is not None and found.ece_held_out < 0.04


@pytest.mark.parametrize(
    ("right", "wrong", "images"), [(19, 100, 30), (100, 19, 30), (100, 100, 7), (0, 0, 1)]
)
def test_too_little_data_is_left_as_it_is_with_the_reason(
    right: int, wrong: int, images: int
) -> None:
    count = right + wrong
    found = fit(
        Samples(np.linspace(0.1, 0.9, count), np.arange(count) < right, np.arange(count) % images)
    )
    assert (found.calibration, found.method) == (None, "identity")
    assert f"{right} right and {wrong} wrong" in found.reason
    assert (found.ece_raw is None) == (count == 0)


def test_images_of_one_outcome_cannot_be_cross_validated() -> None:
    # All that is right lies in the one image of a fold, so the rest of the folds have none.
    correct = np.arange(400) % 8 == 0
    found = fit(Samples(np.linspace(0.1, 0.9, 400), correct, np.arange(400) % 8))
    assert found.calibration is None
    assert "cannot be cross-validated" in found.reason


def test_no_image_is_on_both_sides() -> None:
    # Each image has a confidence of its own, and whether it is right is chance: whoever saw the
    # image before would know, and nobody who did not can be better than the share.
    rng = np.random.default_rng(3)
    images = np.repeat(np.arange(100), 30)
    raw = rng.permutation(np.linspace(0.1, 0.9, 100))[images]
    correct = (rng.random(100) < 0.5)[images]
    found = fit(Samples(raw, correct, images))
    assert min(found.log_loss.values()) > 0.66


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(50, 1000), st.booleans()), min_size=60, max_size=120),
    st.integers(0, 3),
)
def test_every_calibration_is_one_that_a_bundle_takes(
    drawn: list[tuple[int, bool]], power: int
) -> None:
    raw = np.array([r / 1000 for r, _ in drawn]) ** (power + 1)
    correct = np.array([c for _, c in drawn])
    for fitter in calibration._FITTERS.values():
        both = Samples(
            np.append(raw, [0.2, 0.8]), np.append(correct, [False, True]), np.arange(len(raw) + 2)
        )
        found = fitter(both)
        if found is None:
            continue
        assert len(found.raw) <= POINTS_MAX
        assert (found.raw[0], found.raw[-1]) == (0, 1)
        assert all(a < b for a, b in itertools.pairwise(found.raw))
        assert all(a <= b for a, b in itertools.pairwise(found.calibrated))
        assert found.calibrated[0] > 0 and found.calibrated[-1] < 1


def test_a_line_of_many_points_is_reduced_near_to_itself() -> None:
    found = calibration._isotonic(detections("overconfident", count=20_000))
    assert found is not None
    assert len(found.raw) == POINTS_MAX
    grid = np.linspace(0.05, 1, 50)
    assert np.abs(calibration.apply(found, grid) - grid**3).max() < 0.08


@pytest.mark.parametrize(
    ("confidences", "correct", "error"),
    [
        ([1.0, 1.0], [True, True], 0.0),
        ([0.9, 0.9], [True, False], 0.4),
        ([0.9, 0.1], [False, True], 0.9),  # of two bins, each 0.9 off
        ([0.55, 0.65], [True, False], 0.55),
    ],
)
def test_expected_calibration_error_by_hand(
    confidences: list[float], correct: list[bool], error: float
) -> None:
    found = expected_calibration_error(np.array(confidences), np.array(correct))
    assert found == pytest.approx(error)


def test_without_detections_there_is_no_error() -> None:
    nothing: tuple[Floats, Bools] = (np.zeros(0), np.zeros(0, dtype=bool))
    assert expected_calibration_error(*nothing) is None


def test_samples_begin_at_the_floor() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    seen = (ScoredBox(0, box, 0.9), ScoredBox(0, box, 0.04), ScoredBox(1, box, 0.5))
    found = calibration.samples(match([ScoredImage((ScoredBox(0, box),), seen)]))
    assert found.confidences.tolist() == [0.9, 0.5]
    assert found.correct.tolist() == [True, False]
