from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.rules.states import PlaceState, StockState
from edge_agent.rules.stock import (
    PLACE,
    SAMPLES_MAX,
    STOCK,
    ClassCount,
    CountWindow,
    ItemCount,
    Limit,
    Span,
    StockChange,
    StrayCount,
)
from tests.unit.edge_agent.rules.sections import shelf

DEFAULT = Span(shelf().smooth_s, shelf().frames_min)


def item(low: int = 2, out: int = 0, span: Span = DEFAULT) -> ItemCount:
    return ClassCount("cola", STOCK, (out, low), span)


def stray(span: Span = DEFAULT) -> StrayCount:
    return ClassCount("soap", PLACE, (0,), span)


def seen(objects: int, rng: Random, miss: float) -> int:
    return sum(rng.random() >= miss for _ in range(objects))


@pytest.mark.parametrize("fps", [1.0, 10.0, 30.0])
@pytest.mark.parametrize("objects", [1, 4])
def test_flicker_never_empties_a_shelf_that_is_not_empty(fps: float, objects: int) -> None:
    counted, rng, states = item(low=0), Random(7), set()
    for frame in range(10_000):
        counted.observe(seen(objects, rng, miss=0.2), frame / fps)
        states.add(counted.state)
    assert states == {StockState.UNKNOWN, StockState.IN_STOCK}
    assert counted.count is not None
    assert counted.count >= objects * 0.75, "close to what is there, for all the misses"


@pytest.mark.parametrize("fps", [1.0, 10.0, 30.0])
def test_a_shelf_that_is_emptied_is_told_within_the_span(fps: float) -> None:
    counted, rng = item(), Random(11)
    emptied_s = 100.0
    told_s: dict[StockState, float] = {}
    for frame in range(int(200 * fps)):
        now_s = frame / fps
        there = 4 if now_s < emptied_s else 0
        change = counted.observe(seen(there, rng, miss=0.2), now_s)
        if change is not None:
            told_s[change.state] = now_s
    assert told_s[StockState.IN_STOCK] == pytest.approx(DEFAULT.seconds, abs=1)
    wait_s = told_s[StockState.OUT_OF_STOCK] - emptied_s
    assert 0.5 * DEFAULT.seconds < wait_s <= DEFAULT.seconds
    assert counted.count == 0


def test_ghosts_do_not_fill_an_empty_shelf() -> None:
    counted, rng = item(), Random(3)
    for frame in range(10_000):
        counted.observe(int(rng.random() < 0.05), frame / 10)
        assert counted.state in (StockState.UNKNOWN, StockState.OUT_OF_STOCK)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.integers(0, 3), st.integers(0, 3))
def test_the_state_is_the_one_that_the_limits_say(counts: list[int], low: int, out: int) -> None:
    counted = item(max(low, out), min(low, out), Span(5.0, 3))
    for second, count in enumerate(counts):
        counted.observe(count, float(second))
        if counted.state is StockState.UNKNOWN:
            assert counted.count is None
            assert second < 5
        if counted.state is StockState.OUT_OF_STOCK:
            recent = counts[max(0, second - 4) : second + 1]
            assert sum(c > min(low, out) for c in recent) < 0.5 * len(recent)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5)), min_size=1, max_size=80))
def test_a_window_holds_the_frames_of_its_span(frames: list[tuple[float, int]]) -> None:
    window, now_s, kept = CountWindow(4.0), 0.0, []
    for gap_s, count in frames:
        now_s += gap_s
        window.add(count, now_s)
        kept.append((now_s, count, gap_s))
    # Frames of the same moment are thinned to one.
    thin = [(t, c) for i, (t, c, gap_s) in enumerate(kept) if i == 0 or gap_s >= 4.0 / SAMPLES_MAX]
    if all(gap_s == 0 or gap_s >= 4.0 / SAMPLES_MAX for _, _, gap_s in kept[1:]):
        inside = sorted(c for t, c in thin if t > now_s - 4.0)
        assert len(window) == len(inside)
        assert window.share_above(2) == sum(c > 2 for c in inside) / len(inside)
        rank = window.ranked()
        assert sum(c <= rank for c in inside) >= 0.75 * len(inside)
        assert sum(c < rank for c in inside) < 0.75 * len(inside)


def test_memory_is_bounded_however_many_frames_come() -> None:
    window = CountWindow(10.0)
    for frame in range(20_000):
        window.add(1, frame / 1000)
    assert SAMPLES_MAX * 0.75 < len(window) <= SAMPLES_MAX + 1


def test_between_its_marks_a_limit_stays_as_it_was() -> None:
    limit = Limit(0)
    answers = []
    for share in (1.0, 0.4, 0.26, 0.25, 0.4, 0.49, 0.5):
        window = CountWindow(100.0)
        for i in range(100):
            window.add(int(i < share * 100), i / 10)
        answers.append(limit.above(window))
    assert answers == [True, True, True, False, False, False, True]


def test_too_few_frames_change_nothing() -> None:
    counted = item(span=Span(30.0, 15))
    for second in range(0, 3000, 5):
        assert counted.observe(0, float(second)) is None
    assert counted.state is StockState.UNKNOWN


def test_what_cannot_be_seen_is_unknown_once_and_needs_a_whole_span_again() -> None:
    counted = item(span=Span(10.0, 3))
    for second in range(11):
        counted.observe(5, float(second))
    assert counted.count == 5
    lost = StockChange("cola", StockState.IN_STOCK, StockState.UNKNOWN, None)
    assert counted.lose_sight() == lost
    assert counted.lose_sight() is None
    changes = [counted.observe(1, 100.0 + second) for second in range(11)]
    assert changes[:10] == [None] * 10
    assert changes[10] == StockChange("cola", StockState.UNKNOWN, StockState.LOW_STOCK, 1)


def test_a_stray_object_is_told_when_it_stays_and_when_it_is_gone() -> None:
    counted, told = stray(Span(10.0, 3)), []
    for second in range(60):
        there = second == 5 or 20 <= second < 40
        change = counted.observe(int(there), float(second))
        if change is not None:
            told.append((second, change.state))
    assert told == [(10, PlaceState.CLEAR), (24, PlaceState.WRONG_PLACE), (47, PlaceState.CLEAR)]
