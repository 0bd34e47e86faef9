from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.pace import PAUSE_S, Pace, dial, first_share
from edge_agent.update.shadow import ShadowCounts

shares = st.floats(0.001, 1)
rates = st.one_of(st.none(), st.floats(0, 2))


@given(shares, shares, rates, st.floats(0, 1))
def test_the_share_stays_within_what_is_allowed(
    most: float, of_most: float, rate_share: float | None, least: float
) -> None:
    share = most * of_most
    dialled = dial(share, most, rate_share, least)
    assert 0 < dialled <= most
    if rate_share is not None and rate_share < least:
        assert dialled <= max(share / 2, most * 0.001)
    else:
        assert dialled >= min(share, most)


@given(shares, shares, st.floats(0, 2), st.floats(0, 2))
def test_a_lower_rate_never_gets_more_frames(
    most: float, of_most: float, one: float, other: float
) -> None:
    share = most * of_most
    low, high = sorted((one, other))
    assert dial(share, most, low, 0.98) <= dial(share, most, high, 0.98)


def run(
    pace: Pace, answers: int, *, period_s: float, cost_s: float, rng: Random
) -> tuple[Pace, ShadowCounts]:
    """A line whose next answer comes later by `cost_s` for each frame that is shadowed."""
    now_s, counts = 100.0, ShadowCounts()
    for _ in range(answers):
        now_s += period_s * rng.uniform(0.98, 1.02)
        pace, stretch = pace.after(now_s, at_rest=True)
        if stretch is not None:
            counts = counts.merge(stretch)
        if rng.random() < pace.share_now:
            now_s += cost_s
    return pace, counts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cost_of_period", [0.5, 1.0, 4.0])
def test_a_busy_line_keeps_its_rate(seed: int, cost_of_period: float) -> None:
    pace = Pace.of(0.5, 0.98)
    period_s = 1 / 30
    _, counts = run(
        pace, 15_000, period_s=period_s, cost_s=period_s * cost_of_period, rng=Random(seed)
    )
    assert counts.rate_share is not None
    # Half of the time there is no shadow at all.
    assert (1 + counts.rate_share) / 2 >= 0.98


@pytest.mark.parametrize("seed", range(3))
def test_a_line_with_room_is_shadowed_as_much_as_is_allowed(seed: int) -> None:
    pace, counts = run(Pace.of(0.5, 0.98), 8_000, period_s=0.1, cost_s=0.0, rng=Random(seed))
    assert pace.share == pytest.approx(0.5, rel=0.5)
    assert counts.rate_share == pytest.approx(1.0, abs=0.01)


def test_it_begins_without_a_shadow_and_then_with_a_small_share() -> None:
    pace = Pace.of(0.2, 0.98)
    assert pace.share_now == 0
    while not pace.shadowed:
        pace, _ = pace.after((pace.stretch.last_s if pace.stretch else 0.0) + 0.1, at_rest=True)
        assert pace.share_now == 0
    pace, _ = pace.after(100.0, at_rest=True)
    assert pace.share_now == first_share(0.2)


def test_no_stretch_begins_while_the_candidate_works() -> None:
    pace = Pace.of(0.2, 0.98)
    for number in range(100):
        pace, stretch = pace.after(float(number), at_rest=False)
        assert (stretch, pace.stretch) == (None, None)


def test_a_camera_that_was_away_is_not_counted_as_slow() -> None:
    pace, _ = Pace.of(0.2, 0.98).after(10.0, at_rest=True)
    pace, stretch = pace.after(10.0 + PAUSE_S + 1, at_rest=True)
    assert stretch is None
    assert pace.shadowed, "a camera with few frames is shadowed too"
