"""Parity of two lists of answers, and what a variant that restores it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation.coco import ScoredBox
from cloud.evaluation.diagnosis import AS_SHIPPED, VARIANTS, diagnose
from cloud.evaluation.parity import compare
from tests.unit.cloud.evaluation import drawn

HERE, THERE = (10.0, 10.0, 50.0, 50.0), (100.0, 100.0, 160.0, 140.0)
ONE, TWO = ScoredBox(0, HERE, 0.8), ScoredBox(1, THERE, 0.6)


def test_the_largest_errors_are_told() -> None:
    moved = ScoredBox(0, (11.0, 10.0, 50.0, 53.0), 0.75)
    found = compare([[ONE, TWO], []], [[TWO, moved], []])
    assert (found.frames, found.objects, found.unmatched) == (2, 2, 0)
    assert found.box_error_px_max == 3
    assert found.confidence_error_max == pytest.approx(0.05)
    assert found.agreement == 1


@pytest.mark.parametrize(
    ("shipped", "unmatched", "agreement"),
    [
        ([ONE], 1, 2 / 3),  # one is lacking
        ([ONE, TWO, ScoredBox(0, THERE, 0.9)], 1, 4 / 5),  # one is seen and not expected
        ([ONE, TWO, ScoredBox(0, THERE, 0.26)], 0, 4 / 5),  # hardly above the floor
        ([ONE, replace(TWO, class_id=0)], 2, 1 / 2),  # another class
        ([ONE, replace(TWO, confidence=0.2)], 0, 1 / 2),  # crosses the floor, and has a partner
        ([], 2, 0),
    ],
)
def test_what_has_no_counterpart_is_counted(
    shipped: list[ScoredBox], unmatched: int, agreement: float
) -> None:
    found = compare([[ONE, TWO]], [shipped])
    assert found.unmatched == unmatched
    assert found.agreement == pytest.approx(agreement)


def test_faint_detections_are_partners_and_no_objects() -> None:
    faint = ScoredBox(0, THERE, 0.1)
    found = compare([[ONE, faint]], [[ONE]])
    assert (found.objects, found.unmatched) == (1, 0)
    nothing = compare([[faint]], [[]])
    assert (nothing.objects, nothing.unmatched, nothing.agreement) == (0, 0, None)
    with pytest.raises(ValueError, match="zip"):
        compare([[]], [])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(drawn.coarse, max_size=6), max_size=3))
def test_answers_agree_with_themselves(frames: list[list[ScoredBox]]) -> None:
    found = compare(frames, [list(reversed(frame)) for frame in frames])
    assert (found.unmatched, found.box_error_px_max) == (0, 0)
    assert found.confidence_error_max == 0
    assert found.agreement in {None, 1}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.lists(drawn.coarse, max_size=6), st.lists(drawn.coarse, max_size=6))))
def test_agreement_is_a_share_and_the_same_from_both_sides(
    frames: list[tuple[list[ScoredBox], list[ScoredBox]]],
) -> None:
    found = compare([a for a, _ in frames], [b for _, b in frames])
    assert found.agreement is None or 0 <= found.agreement <= 1
    assert found.unmatched <= sum(len(a) + len(b) for a, b in frames)


def test_the_one_variant_that_restores_parity_is_named() -> None:
    reference = [[ONE, TWO], [ONE]]
    blind: list[list[ScoredBox]] = [[], [ONE]]
    for name, words in VARIANTS.items():
        answers = dict.fromkeys((AS_SHIPPED, *VARIANTS), blind)
        hints = diagnose(reference, {**answers, name: reference})
        assert len(hints) == 1
        assert hints[0].startswith(words)
        assert "agreement 0.50 as shipped, 1.00 so" in hints[0]


def test_where_no_one_variant_explains_it_nothing_is_claimed() -> None:
    reference: list[list[ScoredBox]] = [[ONE, TWO]]
    blind: list[list[ScoredBox]] = [[]]
    every = dict.fromkeys((AS_SHIPPED, *VARIANTS), reference)
    assert diagnose(reference, every) == (), "nothing is wrong"
    assert diagnose(reference, dict.fromkeys(every, blind)) == (), "nothing helps"
    assert diagnose(reference, {**every, AS_SHIPPED: blind}) == (), "everything helps alike"
    half = {AS_SHIPPED: blind, "not scaled": [[ONE]]}
    assert diagnose(reference, half) == (), "better, and still not as the original"
    assert diagnose([[]], {AS_SHIPPED: [[]], "not scaled": [[]]}) == (), "nothing to go by"


def test_a_small_difference_that_one_variant_takes_away_wholly_is_explained_by_it() -> None:
    reference = [[ONE, TWO]]
    shaken = [[replace(ONE, confidence=0.7), TWO]]
    assert compare(reference, shaken).agreement == 1.0, "a person would call them alike"
    answers = {AS_SHIPPED: shaken, "channels exchanged": reference, "not scaled": shaken}
    (hint,) = diagnose(reference, answers)
    assert hint.startswith(VARIANTS["channels exchanged"])
