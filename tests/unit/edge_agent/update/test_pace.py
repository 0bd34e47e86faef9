from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.pace import (
    ENOUGH_LOOKS_PER_S,
    PAUSE_S,
    Pace,
    Rates,
    dial,
    first_share,
    harmless,
    least_share,
)
from edge_agent.update.shadow import ShadowCounts
from protocol.messages import ShadowPolicy

shares = st.floats(0.001, 1)
some_rates = st.lists(st.floats(0.1, 100), max_size=6).map(tuple)
all_rates = st.builds(Rates, some_rates, some_rates)


@given(shares, shares, all_rates, st.floats(0, 1), st.floats(0, 2))
def test_the_share_stays_within_what_is_allowed(
    most: float, of_most: float, rates: Rates, rate_share_min: float, least: float
) -> None:
    share = most * of_most
    dialled = dial(share, most, rates, rate_share_min, least)
    assert 0 < dialled <= most
    assert dialled >= min(least, most) or rates.share is None
    if rates.share is not None and rates.share < rate_share_min:
        assert dialled <= max(share / 2, most * 0.001, least)
    else:
        assert dialled >= min(share, most)
    if dialled > max(share, least, most * 0.001):
        assert rates.share is not None
        assert rates.share - rates.doubt >= rate_share_min


@given(shares, shares, some_rates, some_rates, st.floats(0, 1))
def test_a_lower_rate_never_gets_more_frames(
    most: float, of_most: float, shadowed: tuple[float, ...], alone: tuple[float, ...], by: float
) -> None:
    """The same stretches, all slower by one factor: the doubt shrinks with them."""
    slower = tuple(rate * by for rate in shadowed)
    low, high = (
        dial(most * of_most, most, Rates(some, alone), 0.98, 0.0) for some in (slower, shadowed)
    )
    assert low <= high


def test_the_doubt_of_a_share_is_twice_its_standard_error() -> None:
    rates = Rates((29.0, 31.0, 30.0, 30.0), (32.0, 28.0, 30.0, 30.0))
    assert rates.share == pytest.approx(1.0)
    errors = ((2 / 3) ** 0.5 / 30 / 2, (8 / 3) ** 0.5 / 30 / 2)
    assert rates.doubt == pytest.approx(2 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5)
    assert Rates((30.0,), (30.0, 30.0)).doubt == math.inf
    assert Rates((30.0,), (0.0,)).share is None


@given(st.floats(1e-4, 10), st.floats(0.1, 1000), st.floats(0.5, 0.999))
def test_what_is_harmless_takes_no_more_than_may_be_lost(
    look_s: float, answers_per_s: float, least: float
) -> None:
    share = harmless(look_s, answers_per_s, least)
    assert share * answers_per_s * look_s == pytest.approx(1 - least)
    slow = Rates((1.0, 1.0), (30.0, 30.0))
    assert dial(0.5, 0.5, slow, least, share) == pytest.approx(min(0.5, max(0.25, share)))


@given(st.floats(1e-4, 10), st.floats(0.1, 5000), st.floats(0.5, 0.999))
def test_no_rate_takes_enough_looks_back_nor_insists_on_more(
    look_s: float, answers_per_s: float, rate_share_min: float
) -> None:
    least = least_share(look_s, answers_per_s, rate_share_min)
    most = harmless(look_s, answers_per_s, rate_share_min)
    assert least <= most
    if least < most:
        assert least * answers_per_s == pytest.approx(min(ENOUGH_LOOKS_PER_S, answers_per_s))
    assert least_share(look_s, 0.0, rate_share_min) == 1.0


def run(
    pace: Pace,
    answers: int,
    *,
    period_s: float,
    cost_s: float,
    rng: Random,
    look_s: float | None = None,
    rate_noise: float = 0.0,
) -> tuple[Pace, ShadowCounts, int]:
    """A line whose next answer comes later by `cost_s` for each frame that is shadowed, on a
    machine whose speed changes every second by a share of `rate_noise`; the looks are counted.
    """
    now_s, counts, looks, speed, changes_s = 100.0, ShadowCounts(), 0, 1.0, 0.0
    for _ in range(answers):
        if now_s >= changes_s:
            speed, changes_s = rng.uniform(1 - rate_noise, 1 + rate_noise), now_s + 1.0
        now_s += period_s * rng.uniform(0.98, 1.02) / speed
        pace, stretch = pace.after(now_s, True, (look_s or cost_s) if looks else None)
        if stretch is not None:
            counts = counts.merge(stretch)
        if rng.random() < pace.share_now:
            now_s, looks = now_s + cost_s, looks + 1
    return pace, counts, looks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cost_of_period", [0.5, 1.0, 4.0])
def test_a_busy_line_keeps_its_rate(seed: int, cost_of_period: float) -> None:
    pace = Pace.of(0.5, 0.98)
    period_s = 1 / 30
    _, counts, _ = run(
        pace, 15_000, period_s=period_s, cost_s=period_s * cost_of_period, rng=Random(seed)
    )
    assert counts.rate_share is not None
    # Half of the time there is no shadow at all.
    assert (1 + counts.rate_share) / 2 >= 0.98


@pytest.mark.parametrize("seed", range(3))
def test_a_line_with_room_is_shadowed_as_much_as_is_allowed(seed: int) -> None:
    pace, counts, _ = run(Pace.of(0.5, 0.98), 8_000, period_s=0.1, cost_s=0.0, rng=Random(seed))
    assert pace.share == pytest.approx(0.5, rel=0.5)
    assert counts.rate_share == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_a_rate_that_changes_by_itself_does_not_starve_the_shadow(seed: int) -> None:
    """A full and shared machine: 30 answers a second, give or take 40 %, for twenty minutes."""
    period_s = 1 / 30
    pace, counts, looks = run(
        Pace.of(0.2, 0.98), 36_000, period_s=period_s, cost_s=period_s, rng=Random(seed),
        rate_noise=0.4,
    )  # fmt: skip
    assert looks >= ShadowPolicy().frames_min
    assert looks * period_s <= 0.02 * 36_000 * period_s, "what they took is within the allowance"
    assert pace.share >= harmless(period_s, 40, 0.98) * 0.5
    assert counts.with_s > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_fast_model_whose_looks_cost_more_than_their_threads_say_keeps_its_rate(
    seed: int,
) -> None:
    """A thousand answers a second, give or take 10 %; a look of 3 ms costs the line 6 ms."""
    cost_s = 0.006
    _, counts, looks = run(
        Pace.of(0.2, 0.98), 150_000, period_s=0.001, cost_s=cost_s, look_s=0.003,
        rng=Random(seed), rate_noise=0.1,
    )  # fmt: skip
    assert looks * cost_s <= 0.02 * counts.with_s
    assert looks >= 100, "the verdict's 200 frames come within five minutes"


def test_a_rate_that_falls_before_the_first_look_is_not_the_shadows_doing() -> None:
    pace, now_s = Pace.of(0.2, 0.98), 100.0
    for number in range(2_000):
        now_s += 0.1 if pace.shadowed else 0.05
        pace, _ = pace.after(now_s, True)
        assert pace.share == first_share(0.2), number


def test_it_begins_without_a_shadow_and_then_with_a_small_share() -> None:
    pace = Pace.of(0.2, 0.98)
    assert pace.share_now == 0
    while not pace.shadowed:
        pace, _ = pace.after((pace.stretch.last_s if pace.stretch else 0.0) + 0.1, at_rest=True)
        assert pace.share_now == 0
    pace, _ = pace.after(100.0, at_rest=True)
    assert pace.share_now == first_share(0.2)


def test_of_a_fast_model_it_begins_with_few_looks() -> None:
    pace, now_s = Pace.of(0.2, 0.98), 100.0
    while not pace.share_now:
        now_s += 0.001
        pace, _ = pace.after(now_s, at_rest=True)
    assert pace.share_now == pytest.approx(ENOUGH_LOOKS_PER_S * 0.001)


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
