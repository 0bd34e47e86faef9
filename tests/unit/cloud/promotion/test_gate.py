"""The verdict: what it must be whatever the figures are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation.matching import ClassMatches, Matches
from cloud.promotion import simulation
from cloud.promotion.bootstrap import Estimate
from cloud.promotion.gate import Component, Finding, GateResult, holm, images_needed, judge
from cloud.promotion.pair import CriticalObject, Latency, PairedEvidence, PairedSet, Side
from cloud.promotion.policy import GatePolicy
from cloud.promotion.simulation import World
from protocol.states import Verdict

POLICY = GatePolicy(bootstrap_rounds=200)
WORLD = World(separation=3.0, false_per_image=8.0)

seeds = st.integers(0, 2**16)
shifts = st.sampled_from([-1.0, -0.3, 0.0, 0.4])
few = settings(max_examples=8, deadline=None)


def simulated(seed: int, shift: float = 0.0, images: int = 60) -> PairedEvidence:
    rng = np.random.default_rng(seed)
    return simulation.evidence(*simulation.pair(WORLD, images, rng, shift))


def component(result: GateResult, name: str) -> Component:
    return next(c for c in result.components if c.name == name)


def swapped(pair: PairedEvidence) -> PairedEvidence:
    golden = pair.golden
    assert golden.incumbent is not None
    return replace(pair, golden=PairedSet(golden.images, golden.incumbent, golden.candidate))


def reordered(
    pair: PairedEvidence, order: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> PairedEvidence:
    """The same images in another order."""
    golden = pair.golden
    place = np.argsort(order)

    def side(given: Side) -> Side:
        matches = Matches(
            given.matches.iou,
            given.matches.images,
            {
                c: ClassMatches(f.confidences, f.correct, place[f.images], f.truths[order])
                for c, f in given.matches.per_class.items()
            },
        )
        return Side(matches, given.served[order], given.duplicates[order], given.calibrated)

    assert golden.incumbent is not None
    images = tuple(golden.images[i] for i in order)
    return replace(pair, golden=PairedSet(images, side(golden.candidate), side(golden.incumbent)))


@given(seed=seeds)
@few
def test_a_model_is_never_harmful_beside_itself(seed: int) -> None:
    pair = simulated(seed)
    same = replace(pair, golden=replace(pair.golden, incumbent=pair.golden.candidate))
    result = judge(same, POLICY)
    assert result.verdict is not Verdict.FAIL
    assert all(c.gain == 0 for c in result.components if c.kind in {"overall", "class"})


@given(seed=seeds, shift=shifts)
@few
def test_swapping_the_models_turns_every_gain_around(seed: int, shift: float) -> None:
    pair = simulated(seed, shift)
    there, back = judge(pair, POLICY), judge(swapped(pair), POLICY)
    for one, other in zip(there.components, back.components, strict=True):
        if one.low is not None and one.high is not None:
            assert one.gain == pytest.approx(-(other.gain or 0.0), abs=1e-9)
            assert one.low == pytest.approx(-(other.high or 0.0), abs=1e-9)


@given(seed=seeds, shift=shifts)
@few
def test_the_order_of_the_images_changes_nothing(seed: int, shift: float) -> None:
    pair = simulated(seed, shift)
    order = np.random.default_rng(seed).permutation(len(pair.golden.images))
    one, other = judge(pair, POLICY), judge(reordered(pair, order), POLICY)
    assert one.verdict is other.verdict
    for a, b in zip(one.components, other.components, strict=True):
        assert a.finding is b.finding
        assert a.low == pytest.approx(b.low, abs=1e-9)


@given(seed=seeds, shift=shifts)
@few
def test_a_smaller_alpha_shows_less_either_way(seed: int, shift: float) -> None:
    pair = simulated(seed, shift)
    loose = judge(pair, POLICY.model_copy(update={"alpha": 0.2}))
    strict = judge(pair, POLICY.model_copy(update={"alpha": 0.01}))
    for wide, narrow in zip(strict.components, loose.components, strict=True):
        if wide.low is not None and narrow.low is not None:
            assert wide.low <= narrow.low
        if wide.finding is Finding.HOLDS:
            assert narrow.finding is Finding.HOLDS
        if wide.finding is Finding.HARM:
            assert narrow.finding is Finding.HARM


def test_a_clearly_worse_model_fails_and_a_clearly_better_one_passes() -> None:
    assert judge(simulated(1, -1.5, 150), POLICY).verdict is Verdict.FAIL
    assert judge(simulated(1, 1.5, 150), POLICY).verdict is Verdict.PASS


def test_too_few_images_are_inconclusive_and_say_how_many_would_tell() -> None:
    result = judge(simulated(3, 0.0, 20), POLICY)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.more_images is None or result.more_images > 0
    assert component(result, "golden images").finding is Finding.UNSHOWN


def test_a_small_class_is_reported_and_not_judged() -> None:
    result = judge(simulated(1), POLICY.model_copy(update={"class_boxes_min": 10_000}))
    found = [c for c in result.components if c.kind == "class"]
    assert len(found) == 6
    assert {c.finding for c in found} == {Finding.REPORTED}


def test_a_class_that_the_incumbent_does_not_know_is_held_against_the_bar() -> None:
    pair = simulated(1, 0.0, 150)
    assert pair.golden.incumbent is not None
    blind = replace(
        pair.golden.incumbent.matches,
        per_class={
            c: replace(f, correct=np.zeros_like(f.correct)) if c == 5 else f
            for c, f in pair.golden.incumbent.matches.per_class.items()
        },
    )
    golden = replace(pair.golden, incumbent=Side.of(blind))
    pair = replace(pair, golden=golden, known=pair.known - {5})
    high, low = (
        component(judge(pair, POLICY.model_copy(update={"class_map50_bar": bar})), "class 5")
        for bar in (0.999, 0.5)
    )
    assert (high.finding, low.finding) == (Finding.HARM, Finding.HOLDS)
    assert low.incumbent is None
    # It says nothing of how the others compare, though it would have flattered the candidate.
    overall = component(judge(pair, POLICY), "all classes")
    assert overall.incumbent is not None and overall.incumbent > 0.5
    known_boxes = [c.boxes for c in judge(pair, POLICY).components if c.kind == "class"][:-1]
    assert overall.boxes == sum(b or 0 for b in known_boxes)


def test_without_an_incumbent_only_bars_are_asked() -> None:
    pair = simulated(1, 0.0, 150)
    alone = replace(pair, golden=replace(pair.golden, incumbent=None), known=frozenset())
    assert judge(alone, POLICY).verdict is Verdict.PASS
    high = POLICY.model_copy(update={"map50_bar": 0.99})
    assert judge(alone, high).verdict is Verdict.FAIL
    assert {c.kind for c in judge(alone, POLICY).components} == {
        "images", "overall", "class", "recent"
    }  # fmt: skip


def better(pair: PairedEvidence | None = None) -> PairedEvidence:
    return pair or simulated(1, 1.5, 150)


def test_what_alone_makes_a_better_model_fail() -> None:
    pair, policy = better(), POLICY.model_copy(update={"critical_classes": ("class 0",)})
    assert judge(pair, policy).verdict is Verdict.PASS
    lost = CriticalObject("000001", 0, (0, 0, 9, 9))
    assert judge(replace(pair, newly_missed=(lost,)), policy).verdict is Verdict.FAIL
    assert judge(replace(pair, newly_found=(lost,)), policy).verdict is Verdict.PASS
    slow = replace(pair, candidate_latency=Latency(12.5, "simulated"))
    assert judge(slow, policy).reason == "worse than allowed: latency"
    elsewhere = replace(pair, candidate_latency=Latency(9.0, "another"))
    assert judge(elsewhere, policy).verdict is Verdict.INCONCLUSIVE
    frail = replace(pair, candidate_robustness={"light 3": 0.84})
    assert judge(frail, policy).reason == "worse than allowed: robustness"
    unmeasured = replace(pair, candidate_robustness={})
    assert judge(unmeasured, policy).verdict is Verdict.INCONCLUSIVE
    assert component(judge(unmeasured, policy), "robustness").reason == "not measured for both"
    blind = component(judge(replace(pair, candidate_robustness=None), policy), "robustness")
    assert blind.finding is Finding.UNSHOWN
    assert blind.reason == "measured, but undefined: the clean mAP50 of the candidate is 0"
    optional = policy.model_copy(update={"robustness_required": False})
    assert judge(unmeasured, optional).verdict is Verdict.PASS


def test_double_boxes_and_overconfidence_are_found() -> None:
    pair = better()
    ours = pair.golden.candidate
    doubled = replace(ours, duplicates=ours.served * 0.2)
    boasting = replace(ours, calibrated={c: np.sqrt(w) for c, w in ours.calibrated.items()})
    for side, name in ((doubled, "duplicate boxes"), (boasting, "calibration error")):
        result = judge(replace(pair, golden=replace(pair.golden, candidate=side)), POLICY)
        assert component(result, name).finding is Finding.HARM


def test_recent_images_are_judged_where_there_are_enough() -> None:
    pair, worse = better(), simulated(2, -1.5, 120)
    assert judge(replace(pair, recent=worse.golden), POLICY).verdict is Verdict.FAIL
    few_images = POLICY.model_copy(update={"recent_images_min": 121})
    assert judge(replace(pair, recent=worse.golden), few_images).verdict is Verdict.PASS


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_images_needed_grow_as_the_room_shrinks() -> None:
    needed = images_needed(Estimate(0.0, 0.02), 0.02, 0.05, 100)
    # (1.645 + 0.842)² times as many for an error of the margin's size.
    assert needed == 619
    assert (images_needed(Estimate(-0.01, 0.02), 0.02, 0.05, 100) or 0) > needed
    assert images_needed(Estimate(-0.03, 0.02), 0.02, 0.05, 100) is None
