"""COCO scores of boxes that can be judged by eye."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation.coco import ScoredBox, ScoredImage, score

HERE, THERE = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 160.0, 140.0)


def image(truth: list[ScoredBox], *predictions: ScoredBox) -> ScoredImage:
    return ScoredImage(tuple(truth), predictions)


def test_what_is_seen_exactly_scores_one() -> None:
    truth = [ScoredBox(0, HERE), ScoredBox(2, THERE)]
    found = score([image(truth, ScoredBox(0, HERE, 0.9), ScoredBox(2, THERE, 0.5))])
    assert found.map50 == pytest.approx(1)
    assert found.map50_95 == pytest.approx(1)
    assert (found.images, found.truth_boxes) == (1, 2)
    assert found.mean_confidence == pytest.approx(0.7)
    assert set(found.per_class) == {0, 2}


def test_nothing_seen_scores_zero_and_no_truth_scores_nothing() -> None:
    assert score([image([ScoredBox(0, HERE)])]).map50 == 0
    empty = score([image([], ScoredBox(0, HERE, 0.9))])
    assert (empty.map50, empty.map50_95, empty.per_class) == (None, None, {})
    assert score([]).mean_confidence is None


def test_a_class_that_is_missed_halves_the_mean() -> None:
    truth = [ScoredBox(0, HERE), ScoredBox(1, THERE)]
    assert score([image(truth, ScoredBox(0, HERE, 0.9))]).map50 == pytest.approx(0.5)


def test_a_false_alarm_above_the_true_one_costs_precision_also_on_an_empty_image() -> None:
    seen = image([ScoredBox(0, HERE)], ScoredBox(0, HERE, 0.5))
    alarm = image([], ScoredBox(0, THERE, 0.9))
    assert score([seen, alarm]).map50 == pytest.approx(0.5)


def test_a_loose_box_counts_at_half_overlap_only() -> None:
    loose = ScoredBox(0, (10.0, 10.0, 50.0, 38.0), 0.9)  # covers 0.7 of the truth
    found = score([image([ScoredBox(0, HERE)], loose)])
    assert found.map50 == pytest.approx(1)
    assert found.map50_95 == pytest.approx(0.5)  # thresholds 0.50, 0.55 … 0.70 of ten


def test_mean_confidence_leaves_out_what_would_not_be_served() -> None:
    seen = image([ScoredBox(0, HERE)], ScoredBox(0, HERE, 0.8), ScoredBox(0, THERE, 0.01))
    assert score([seen], mean_confidence_from=0.25).mean_confidence == pytest.approx(0.8)


corner = st.floats(0, 100)
boxes = st.builds(
    lambda c, x, y, w, h, p: ScoredBox(c, (x, y, x + w, y + h), p),
    st.integers(0, 3), corner, corner, st.floats(1, 50), st.floats(1, 50), st.floats(0, 1),
)  # fmt: skip
images = st.builds(
    lambda t, p: ScoredImage(tuple(t), tuple(p)),
    st.lists(boxes, max_size=4),
    st.lists(boxes, max_size=4),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(images, max_size=4))
def test_scores_lie_in_their_ranges(found: list[ScoredImage]) -> None:
    result = score(found)
    counts = [s.truth_boxes for s in result.per_class.values()]
    assert result.truth_boxes == sum(counts)
    if result.map50 is None:
        assert result.truth_boxes == 0
    else:
        assert result.map50_95 is not None
        assert 0 <= result.map50_95 <= result.map50 + 1e-9 <= 1 + 2e-9
