"""Average precision of weighted images: pycocotools' own with unit weights, else as repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation import average_precision
from cloud.evaluation.coco import ScoredBox, ScoredImage, score
from cloud.evaluation.matching import COCO_IOUS, match, match_at
from tests.unit.cloud.evaluation import drawn


@settings(max_examples=80, deadline=None)
@given(st.lists(drawn.images, min_size=1, max_size=5))
def test_unit_weights_give_the_figure_of_pycocotools(images: list[ScoredImage]) -> None:
    theirs = score(images)
    at = [average_precision.per_class(m, np.ones(len(images))) for m in match_at(images, COCO_IOUS)]
    assert len(at[0]) == len(theirs.per_class)
    for column, one in enumerate(theirs.per_class.values()):
        assert at[0][column] == pytest.approx(one.map50, abs=1e-9)
        assert np.mean([a[column] for a in at]) == pytest.approx(one.map50_95, abs=1e-9)
    whole = float(average_precision.map50(match(images)))
    assert np.isnan(whole) if theirs.map50 is None else whole == pytest.approx(theirs.map50)


def test_a_larger_set_gives_the_figure_of_pycocotools() -> None:
    images = drawn.a_set(40, np.random.default_rng(3))
    assert float(average_precision.map50(match(images))) == pytest.approx(score(images).map50)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_whole_weights_count_images_so_many_times(weights: list[int]) -> None:
    images = drawn.a_set(12, np.random.default_rng(4))
    repeated = [i for image, n in zip(images, weights, strict=True) for i in [image] * n]
    rounds = np.array([weights, np.ones(12)])
    found = average_precision.per_class(match(images), rounds, class_ids=range(3))
    assert found.shape == (2, 3)
    theirs = score(repeated).per_class
    for class_id in range(3):
        if class_id in theirs:
            assert found[0, class_id] == pytest.approx(theirs[class_id].map50)
        else:
            assert np.isnan(found[0, class_id])


def test_rounds_are_the_same_whether_they_are_cut_in_parts_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matches = match(drawn.a_set(30, np.random.default_rng(5)))
    rounds = np.random.default_rng(6).multinomial(30, np.full(30, 1 / 30), size=50).astype(float)
    whole = average_precision.per_class(matches, rounds)
    monkeypatch.setattr(average_precision, "_CELLS_MAX", 70)
    assert average_precision.per_class(matches, rounds) == pytest.approx(whole)


def test_a_class_that_does_not_occur_is_nobodys_zero() -> None:
    seen = ScoredImage((ScoredBox(0, (0, 0, 9, 9)),), (ScoredBox(0, (0, 0, 9, 9), 0.9),))
    found = average_precision.per_class(match([seen]), class_ids=[0, 5])
    assert found[0] == 1
    assert np.isnan(found[1])
    assert average_precision.mean(found) == 1
    assert np.isnan(average_precision.map50(match([seen]), np.zeros(1)))


@pytest.mark.parametrize("weights", [np.ones(2), -np.ones(1)])
def test_weights_of_other_images_are_refused(
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    with pytest.raises(ValueError, match="weights of 1 images"):
        average_precision.map50(match([ScoredImage((), ())]), weights)
