"""COCO's greedy matching, by eye; test_average_precision holds it against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation.coco import ScoredBox, ScoredImage
from cloud.evaluation.matching import ClassMatches, match, match_at
from tests.unit.cloud.evaluation import drawn

HERE, THERE = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 160.0, 140.0)


def one(truth: list[ScoredBox], *seen: ScoredBox, iou: float = 0.5) -> ClassMatches:
    return match([ScoredImage(tuple(truth), seen)], iou).per_class[0]


def test_the_more_confident_takes_the_truth_and_the_second_is_wrong() -> None:
    found = one([ScoredBox(0, HERE)], ScoredBox(0, HERE, 0.4), ScoredBox(0, HERE, 0.8))
    assert found.confidences.tolist() == [0.8, 0.4]
    assert found.correct.tolist() == [True, False]
    assert found.truth_boxes == 1


def test_a_truth_that_is_taken_leaves_the_next_best() -> None:
    beside = (12.0, 10.0, 52.0, 50.0)
    truth = [ScoredBox(0, HERE), ScoredBox(0, beside)]
    found = one(truth, ScoredBox(0, HERE, 0.9), ScoredBox(0, HERE, 0.8), ScoredBox(0, HERE, 0.7))
    assert found.correct.tolist() == [True, True, False]


def test_another_class_and_too_little_overlap_match_nothing() -> None:
    loose = (10.0, 10.0, 50.0, 38.0)  # covers 0.7 of the truth
    assert one([ScoredBox(0, HERE)], ScoredBox(0, loose, 0.9), iou=0.7).correct.tolist() == [True]
    assert one([ScoredBox(0, HERE)], ScoredBox(0, loose, 0.9), iou=0.75).correct.tolist() == [False]
    other = match([ScoredImage((ScoredBox(0, HERE),), (ScoredBox(1, HERE, 0.9),))])
    assert other.per_class[1].correct.tolist() == [False]
    assert other.labelled() == [0]


def test_classes_can_be_asked_for_that_do_not_occur() -> None:
    found = match([ScoredImage((ScoredBox(0, HERE),), ())], class_ids=[0, 7])
    assert list(found.per_class) == [0, 7]
    assert found.per_class[7].truths.tolist() == [0]
    assert match([]).per_class == {}


def test_no_more_detections_count_than_coco_counts() -> None:
    many = [ScoredBox(0, THERE, 0.5 + n / 1000) for n in range(300)]
    seen = [ScoredBox(0, HERE, 0.1), *many, ScoredBox(1, HERE, 0.1)]
    found = match([ScoredImage((ScoredBox(0, HERE),), tuple(seen))])
    assert len(found.per_class[0].confidences) == 300
    assert not found.per_class[0].correct.any()
    assert len(found.per_class[1].confidences) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn.images, max_size=4), st.sampled_from([0.0, 0.2, 0.5, 0.95]))
def test_what_lies_below_a_confidence_changes_nothing_above_it(
    images: list[ScoredImage], floor: float
) -> None:
    cut = [
        ScoredImage(i.truth, tuple(p for p in i.predictions if p.confidence >= floor))
        for i in images
    ]
    some = match(cut, class_ids=range(3)).per_class
    for class_id, found in match(images, class_ids=range(3)).per_class.items():
        kept = found.confidences >= floor
        assert np.array_equal(found.correct[kept], some[class_id].correct)
        assert np.array_equal(found.images[kept], some[class_id].images)


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn.images, max_size=4))
def test_no_truth_is_matched_twice(images: list[ScoredImage]) -> None:
    loose, tight = match_at(images, (0.5, 0.9))
    for class_id, found in loose.per_class.items():
        matched = np.bincount(found.images[found.correct], minlength=len(images))
        assert (matched <= found.truths).all()
        assert tight.per_class[class_id].correct.sum() <= found.correct.sum()
        assert (np.diff(found.confidences) <= 0).all()


def test_a_box_without_area_matches_nothing() -> None:
    flat = (10.0, 10.0, 10.0, 50.0)
    assert one([ScoredBox(0, flat)], ScoredBox(0, flat, 0.9)).correct.tolist() == [False]
    assert one([ScoredBox(0, HERE)], ScoredBox(0, HERE, 0.9)).truths == pytest.approx([1])
