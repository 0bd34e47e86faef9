"""How many devices start, and when."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollouts.planning.pace import allowance, memory_s, rate_per_minute
from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import PacePolicy, StartExecution
from tests.unit.cloud.rollouts.views import NOW, ROLLOUT, device, done, flying, policy

RATES = st.one_of(st.floats(0.01, 1.0), st.floats(1.0, 500.0))
STEPS = st.lists(st.floats(0.1, 40.0), max_size=60)


@pytest.mark.parametrize(
    ("succeeded", "rate"), [(0, 10.0), (9, 10.0), (10, 20.0), (25, 40.0), (10_000, 50.0)]
)
def test_the_rate_grows_with_what_has_succeeded_up_to_its_most(succeeded: int, rate: float) -> None:
    pace = PacePolicy(10.0, factor=2.0, after_succeeded=10, per_minute_max=50.0)
    assert rate_per_minute(pace, succeeded) == pytest.approx(rate)


def test_a_rate_without_a_most_does_not_overflow() -> None:
    assert rate_per_minute(PacePolicy(1.0, factor=10.0, after_succeeded=1), 100_000) == 1e9


def test_a_minutes_devices_are_spread_over_the_minute() -> None:
    assert allowance(60.0, [], 0.0) == 10
    assert allowance(60.0, [0.0] * 10, 9.9) == 0
    assert allowance(60.0, [0.0] * 10, 10.0) == 10
    assert allowance(60.0, [0.0] * 60, 59.9) == 0
    assert allowance(60.0, [0.0] * 60, 60.0) == 10


def test_below_one_a_minute_they_go_one_by_one() -> None:
    assert allowance(0.5, [0.0], 119.9) == 0
    assert allowance(0.5, [0.0], 120.0) == 1
    assert memory_s(PacePolicy(0.5)) == 120.0


@given(rate=RATES, steps=STEPS)
def test_no_minute_ever_sees_more_than_the_rate(rate: float, steps: list[float]) -> None:
    now = 1000.0
    started: list[float] = []
    for step in steps:
        now += step
        lately = [at for at in started if at > now - memory_s(PacePolicy(rate))]
        started += [now] * allowance(rate, lately, now)

    for at in started:
        within = sum(at - 60.0 < other <= at for other in started)
        assert within <= max(1.0, rate)
    if rate < 1.0:
        gaps = [b - a for a, b in pairwise(started)]
        assert all(gap >= 60.0 / rate for gap in gaps)


@pytest.mark.parametrize("rate", [0.25, 1.0, 7.0, 90.0])
def test_the_rate_is_reached(rate: float) -> None:
    """Looked at every second, it comes to all of the rate."""
    started: list[float] = []
    for second in range(1200):
        lately = [at for at in started if at > second - memory_s(PacePolicy(rate))]
        started += [float(second)] * allowance(rate, lately, float(second))

    assert len(started) == 20 * rate


def test_pace_counts_every_start_of_the_last_minute() -> None:
    rollout = replace(ROLLOUT, policy=policy(pace=PacePolicy(6.0)))
    views = [device(f"n{n}") for n in range(9)]

    assert len(plan(rollout, views, NOW)) == 1
    lately = [flying(name=f"f{n}", started_at=NOW - 11 - n) for n in range(5)]
    assert len(plan(rollout, [*lately, *views], NOW)) == 1
    ended = [done("e", started_at=NOW - 59)]
    assert plan(rollout, [*lately, *ended, *views], NOW) == []
    assert len(plan(rollout, [*lately, *ended, *views], NOW + 1)) == 1


def test_no_more_are_in_flight_than_may_be() -> None:
    rollout = replace(ROLLOUT, policy=policy(in_flight_max=3))
    views = [flying(name="a"), flying(name="b"), done("c"), device("x"), device("y")]

    (start,) = plan(rollout, views, NOW)

    assert isinstance(start, StartExecution)
    assert start.device_id == "x"
    assert plan(rollout, [*views, flying(name="d")], NOW) == []
