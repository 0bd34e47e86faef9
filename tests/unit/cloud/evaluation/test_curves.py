"""Curves and thresholds, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation import thresholds
from cloud.evaluation.coco import ScoredBox, ScoredImage
from cloud.evaluation.curves import curves, f1_best, is_served, operating_point, pooled
from cloud.evaluation.matching import ClassMatches, match
from tests.unit.cloud.evaluation import drawn

HERE, THERE = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 160.0, 140.0)


def found(confidences: list[float], correct: list[int], truths: int) -> ClassMatches:
    return ClassMatches(
        np.array(confidences),
        np.array(correct, dtype=bool),
        np.zeros(len(correct), dtype=np.int64),
        np.array([truths]),
    )


def test_what_a_threshold_serves_is_counted() -> None:
    one = found([0.9, 0.7, 0.5, 0.3], [1, 0, 1, 0], truths=4)
    at = operating_point(one, 0.5)
    assert (at.precision, at.recall, at.f1) == pytest.approx((2 / 3, 1 / 2, 4 / 7))
    nothing = operating_point(one, 0.95)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, 0, 0)
    unlabelled = operating_point(found([0.9], [0], truths=0), 0.5)
    assert (unlabelled.precision, unlabelled.recall, unlabelled.f1) == (0, None, 0)


def test_a_confidence_at_its_threshold_is_served_in_float32_as_on_a_device() -> None:
    told = np.array([float(np.float32(0.7))])
    assert told[0] < 0.7
    assert is_served(told, 0.7).all()
    assert operating_point(found(told.tolist(), [1], truths=1), 0.7).recall == 1


def test_of_thresholds_alike_the_highest_is_best() -> None:
    best = f1_best(found([0.8, 0.4], [1, 0], truths=1), thresholds.CANDIDATES)
    assert (best.threshold, best.f1) == (0.8, 1)
    assert f1_best(found([], [], truths=3), thresholds.CANDIDATES).threshold == 0.95


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn.images, max_size=4), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_curves_are_what_is_counted(images: list[ScoredImage], grid: list[float]) -> None:
    one = pooled(match(images))
    at = curves(one, np.array(grid))
    for place, threshold in enumerate(grid):
        served = is_served(one.confidences, threshold)
        right = int(one.correct[served].sum())
        assert (at.served[place], at.correct[place]) == (served.sum(), right)
        if one.truth_boxes:
            assert at.recall[place] == right / one.truth_boxes
    order = np.argsort(grid)
    assert (np.diff(at.served[order]) <= 0).all()
    assert not (at.precision < 0).any() and not (at.precision > 1).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn.images, min_size=1, max_size=4))
def test_no_candidate_has_a_better_f1_than_the_best(images: list[ScoredImage]) -> None:
    one = pooled(match(images))
    best = f1_best(one, thresholds.CANDIDATES)
    others = curves(one, thresholds.CANDIDATES).f1
    assert np.nanmax(np.nan_to_num(others)) == pytest.approx(best.f1 or 0.0)


def boxes(count: int, class_id: int, right: float | None) -> list[ScoredImage]:
    """Images with one object each, seen at `right` or not at all, and a false alarm at 0.3."""
    seen = () if right is None else (ScoredBox(class_id, HERE, right),)
    alarm = ScoredBox(class_id, THERE, 0.3)
    return [ScoredImage((ScoredBox(class_id, HERE),), (*seen, alarm)) for _ in range(count)]


def test_a_class_with_enough_boxes_has_its_own_threshold_and_the_rest_share_one() -> None:
    images = [*boxes(30, 0, 0.6), *boxes(5, 1, 0.5), *boxes(25, 2, None)]
    fitted = thresholds.fit(match(images), ("scratch", "dent", "hole", "never"))
    assert fitted.thresholds.per_class == {0: 0.6}
    assert fitted.thresholds.default == 0.5
    report = fitted.report
    assert (report["scratch"]["from"], report["scratch"]["f1"]) == ("class", 1)
    assert report["dent"]["from"] == "overall"
    assert "it has 5 boxes, so the F1-best over all 60" in report["dent"]["why"]
    assert "none of its boxes is found" in report["hole"]["why"]
    assert report["never"] == {
        "threshold": 0.5, "precision": None, "recall": None, "f1": None, "truth_boxes": 0,
        "from": "overall", "why": "it has 0 boxes, so the F1-best over all 60 boxes",
    }  # fmt: skip


def test_with_few_boxes_or_nothing_found_the_default_stays() -> None:
    few = thresholds.fit(match(boxes(19, 0, 0.6)), ("scratch",))
    assert (few.thresholds.default, few.thresholds.per_class) == (0.25, {})
    assert few.report["scratch"]["from"] == "default"
    blind = thresholds.fit(match(boxes(30, 0, None)), ("scratch",))
    assert (blind.thresholds.default, blind.thresholds.per_class) == (0.25, {})
    assert "nothing at all is found" in blind.report["scratch"]["why"]


@pytest.mark.parametrize(("confidence", "threshold"), [(0.99, 0.95), (0.01, 0.25)])
def test_thresholds_stay_in_their_bounds(confidence: float, threshold: float) -> None:
    images = [ScoredImage(i.truth, i.predictions[:1]) for i in boxes(30, 0, confidence)]
    assert thresholds.fit(match(images), ("scratch",)).thresholds.of(0) == threshold
