"""Whom probation sends back, how soon, and that it sends nobody back by chance."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.observe.service import Answer, ServiceFigures, ServiceTally
from edge_agent.update.probation import SlotHealth, findings, judge_probation
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import fake_bundle
from tests.unit.edge_agent.update.probation_rig import (
    BACK,
    FPS,
    LIMITS,
    NONE,
    Line,
    World,
    judged,
    steady,
    verdict_after,
)

BUSY = World(arrives=0.5, leaves=0.01)
SPARSE = World(arrives=0.01, leaves=0.05)
RARE = World(arrives=0.001, leaves=0.05)
EMPTY = World(arrives=0.0)
CALM = replace(BUSY, bursts=0.0)


@pytest.mark.parametrize(
    "world", [World(), BUSY, SPARSE, RARE, EMPTY], ids=["usual", "busy", "sparse", "rare", "empty"]
)
def test_an_equal_model_is_not_sent_back_by_chance(world: World) -> None:
    """100 seeds for each world, and so 500 in all."""
    outcomes = [verdict_after(seed, world, world, before=400, frames=400)[0] for seed in range(100)]
    back = [outcome for outcome in outcomes if outcome is None or outcome.event is not None]
    assert len(back) <= 1, back


WORSE: list[tuple[World, dict[str, float], int, str]] = [
    (BUSY, {"confidence": 0.4}, 450, "confidence"),
    (World(), {"confidence": 0.4}, 450, "confidence"),
    (CALM, {"latency_ms": 40.0}, 250, "latency"),
    (World(), {"latency_ms": 40.0}, 250, "latency"),
    (World(), {"latency_ms": 200.0}, 100, "latency"),
    (BUSY, {"detections": 0.0}, 100, "nothing found"),
    (World(), {"detections": 0.0}, 200, "nothing found"),
    (World(), {"detections": 20.0}, 450, "detections per frame"),
    (World(), {"ghosts": 20}, 100, "detections per frame"),
    (EMPTY, {"ghosts": 1}, 100, "detections per frame"),
]


@pytest.mark.parametrize(("good", "other", "frames_max", "words"), WORSE)
def test_a_worse_model_goes_back_before_its_time_is_over(
    good: World, other: dict[str, float], frames_max: int, words: str
) -> None:
    worse = replace(good, **other)  # type: ignore[arg-type]
    for seed in range(10):
        outcome, answered = verdict_after(seed, good, worse, frames=100_000)
        assert outcome is not None
        assert outcome.event is BACK
        assert words in outcome.reason
        assert answered <= frames_max, (seed, outcome.reason)


OLD_RULES = [
    (SlotHealth(10, 10, 0), 1.0, None),
    (SlotHealth(10, 5, 5), 0.1, BACK),
    (SlotHealth(10, 0, 0), 9.9, None),
    (SlotHealth(10, 0, 0), 10.0, BACK),
    (SlotHealth(0, 0, 0), 5.0, None),
    (SlotHealth(0, 0, 0), 64.9, None),
    (SlotHealth(0, 0, 0), 65.0, "pass"),
]


@pytest.mark.parametrize(("seen", "elapsed_s", "verdict"), OLD_RULES)
@pytest.mark.parametrize("baseline", [None, NONE, steady(300)], ids=["first", "none", "known"])
def test_errors_and_answers(
    baseline: ServiceFigures | None, seen: SlotHealth, elapsed_s: float, verdict: object
) -> None:
    outcome = judged(NONE, baseline, seen, elapsed_s=elapsed_s, probation_s=5.0)
    if verdict is None:
        assert outcome is None
    else:
        assert outcome is not None
        assert outcome.event is (None if verdict == "pass" else verdict)


@pytest.mark.parametrize("seen", [SlotHealth(10, 10, 0), SlotHealth(50, 49, 1)])
def test_it_passes_when_its_time_is_up_or_when_more_frames_would_have_come(
    seen: SlotHealth,
) -> None:
    """Where the baseline is known, a candidate without enough frames waits for more of them."""
    candidate = steady(seen.inferred)
    for baseline, passes_s in ((None, 5.0), (NONE, 5.0), (steady(300), 65.0)):
        early = judged(candidate, baseline, seen, elapsed_s=passes_s - 0.1, probation_s=5.0)
        outcome = judged(candidate, baseline, seen, elapsed_s=passes_s, probation_s=5.0)
        assert early is None
        assert outcome is not None
        assert outcome.event is None
        assert ("too little was seen" in outcome.reason) is (baseline is not None)


@pytest.mark.parametrize("answers", [0, 1, 30, 49, 400])
@pytest.mark.parametrize("baseline", [None, NONE, steady(300)], ids=["first", "none", "known"])
def test_a_candidate_that_hangs_does_not_pass(
    answers: int, baseline: ServiceFigures | None
) -> None:
    """The incumbent may still answer a frame of its own after the exchange: that says nothing."""
    seen = SlotHealth(captured=3025, inferred=answers + 1)
    shortly, for_long = (
        judged(steady(answers), baseline, seen, elapsed_s=121.0, probation_s=60.0, silent_s=silent)
        for silent in (LIMITS.probation_answer_s / 2, LIMITS.probation_answer_s)
    )
    assert for_long is not None and for_long.event is BACK
    assert shortly is None or shortly.event is BACK


@pytest.mark.parametrize("answers", [1, 40])
def test_a_candidate_that_answers_next_to_nothing_goes_back_early(answers: int) -> None:
    seen = SlotHealth(captured=600, inferred=answers)
    outcome = judged(steady(answers), steady(3000), seen, elapsed_s=20.0, probation_s=60.0)
    assert outcome is not None
    assert outcome.event is BACK
    assert f"{answers} of 600 frames were answered, before it 600 would be" in outcome.reason


@pytest.mark.parametrize(
    ("captured", "elapsed_s", "baseline"),
    [
        (49, 20.0, steady(3000)),  # a camera that rests
        (600, 20.0, steady(3000, fps=2.0)),  # what served answered no more of them
        (600, 20.0, steady(49)),  # nobody knows
        (600, 9.0, steady(3000)),  # the first answer may take its time
    ],
)
def test_few_answers_end_nothing_early_where_few_were_due(
    captured: int, elapsed_s: float, baseline: ServiceFigures
) -> None:
    seen = SlotHealth(captured, 30)
    assert judged(steady(30), baseline, seen, elapsed_s=elapsed_s, probation_s=60.0) is None


def test_a_camera_that_saw_badly_gets_what_the_better_model_should_find() -> None:
    """What served found next to nothing any more; the candidate's own reference says eight."""
    blind, sees = steady(2000, served=0), steady(300, served=8)
    health = SlotHealth(300, 300)
    judged_by = [
        judge_probation(health, sees, blind, 10.0, 10.0, LIMITS, expected=expected)
        for expected in (0.0, 8.0, 1.0)
    ]
    assert [None if one is None else one.event for one in judged_by] == [BACK, None, BACK]


def test_frames_that_come_late_are_still_held_against_the_baseline() -> None:
    few, many = (steady(frames, served=0) for frames in (49, 300))
    assert judged(few, steady(300), elapsed_s=12.0) is None
    outcome = judged(many, steady(300), elapsed_s=12.0)
    assert outcome is not None
    assert outcome.event is BACK


def test_a_first_install_is_held_against_nothing() -> None:
    outcome = judged(steady(300, served=0, latency_ms=900.0), None)
    assert outcome is not None
    assert outcome.event is None


@pytest.mark.parametrize("short", ["candidate", "baseline"])
def test_too_few_frames_on_either_side_say_nothing(short: str) -> None:
    few = LIMITS.probation_frames_min - 1
    bad = steady(few if short == "candidate" else 300, served=0, latency_ms=900.0)
    baseline = steady(few if short == "baseline" else 300)
    outcome = judged(bad, baseline, elapsed_s=10.0 + LIMITS.probation_idle_s)
    assert outcome is not None
    assert outcome.event is None
    assert f"{bad.frames} frames, and {baseline.frames} before" in outcome.reason


RATES = [
    # captured, answered, fps and latency of the candidate; is it sent back?
    (300, 300, 30.0, 20.0, False),
    (300, 150, 15.0, 20.0, True),  # frames are overtaken: too slow for its cameras
    (150, 150, 15.0, 20.0, False),  # the line rests: every frame is answered
    (150, 150, 15.0, 34.0, True),  # a source that waits, and a model that takes its time
    (290, 280, 28.0, 20.0, False),  # within the limit
    (150, 150, 30.0, 23.0, False),  # its camera came late; a little slower, and all answered
]


@pytest.mark.parametrize(("captured", "answered", "fps", "latency_ms", "back"), RATES)
def test_the_rate_counts_where_the_model_is_why(
    captured: int, answered: int, fps: float, latency_ms: float, back: bool
) -> None:
    candidate = steady(answered, fps=fps, latency_ms=latency_ms)
    outcome = judged(candidate, steady(1000), SlotHealth(captured, answered))
    assert outcome is not None
    assert (outcome.event is BACK) is back
    if back:
        assert "15 answers per second, 30 before" in outcome.reason


def test_a_model_that_answers_no_more_is_slow() -> None:
    outcome = judged(steady(60), steady(1000), SlotHealth(300, 60))
    assert outcome is not None
    assert outcome.event is BACK
    assert "240 of 300 frames were not answered" in outcome.reason


def test_figures_tell_both_sides() -> None:
    outcome = judged(steady(300, latency_ms=28.0), steady(300))
    assert outcome is not None
    figures = outcome.figures
    assert figures["probation_frames"] == 300
    assert figures["probation_rate_fps"] == pytest.approx(30.0)
    assert figures["probation_rate_fps_ratio"] == pytest.approx(1.0)
    assert figures["probation_latency_p95_ms_ratio"] == pytest.approx(1.26, abs=0.01)
    assert figures["probation_confidence_mean"] == pytest.approx(0.8)
    assert figures["probation_detections_per_frame"] == pytest.approx(1.0)


def test_what_is_unknown_has_no_figure() -> None:
    outcome = judged(NONE, None, SlotHealth(0, 0), elapsed_s=100.0)
    assert outcome is not None
    assert dict(outcome.figures) == {"probation_frames": 0.0, "probation_errors": 0.0}


@given(
    ratio=st.floats(0.1, 10.0),
    latency_ms=st.floats(1.0, 1000.0),
)
@settings(deadline=None)
def test_a_doubled_latency_is_over_and_one_and_a_half_is_not(
    ratio: float, latency_ms: float
) -> None:
    candidate = steady(200, latency_ms=latency_ms * ratio)
    found = findings(
        SlotHealth(200, 200), candidate, steady(300, latency_ms=latency_ms), 6.7, LIMITS
    )
    if ratio >= 2.0:
        assert [finding.certain for finding in found] == [True]
    elif ratio <= 1.5:
        assert found == []


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_what_is_certain_early_is_a_fault_at_the_end_too(seed: int) -> None:
    good = World()
    line, tally, candidate = Line(good, random.Random(seed)), ServiceTally(), ServiceTally()
    line.run(tally, 300)
    line.world = replace(good, confidence=0.4, latency_ms=35.0)
    line.run(candidate, 150)
    figures, baseline = candidate.figures(), tally.figures()
    early = judged(figures, baseline, elapsed_s=5.0, probation_s=60.0)
    end = judged(figures, baseline, elapsed_s=5.0, probation_s=5.0)
    assert end is not None
    if early is not None:
        assert (early.event, end.event) == (BACK, BACK)


def test_the_incumbent_serves_again_within_the_tick_that_judges() -> None:
    """Judged before each frame: the frame after the verdict is the incumbent's."""
    slot, incumbent, candidate = Slot("tiny"), fake_bundle("a" * 64), fake_bundle("b" * 64)
    slot.exchange(incumbent)
    assert slot.exchange(candidate) is incumbent
    tally, served_by = ServiceTally(), []
    for number in range(200):
        outcome = judged(
            tally.figures(),
            steady(300),
            SlotHealth(number, number),
            elapsed_s=number / FPS,
            probation_s=60.0,
        )
        if outcome is not None and outcome.event is BACK:
            slot.exchange(incumbent)
        with slot.lease() as bundle:
            assert bundle is not None
            served_by.append(bundle.digest[0])
            if bundle is candidate:
                tally.add(Answer("cam", number / FPS, 20.0, 0, 0.0))
    spent = LIMITS.probation_frames_min
    assert served_by == ["b"] * spent + ["a"] * (200 - spent)
