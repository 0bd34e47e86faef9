from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.observe.series import RunningSeries, Series, difference_error, independent

Values = st.lists(st.floats(-1000, 1000), max_size=40)


def series(values: list[float]) -> Series:
    running = RunningSeries()
    for before, value in zip([None, *values], values, strict=False):
        running.add(value, before)
    return running.read()


@given(Values)
def test_mean_and_variance_are_those_of_the_values(values: list[float]) -> None:
    one = series(values)
    assert one.count == len(values)
    assert one.mean == pytest.approx(statistics.fmean(values) if values else 0.0, abs=1e-9)
    wide = statistics.pvariance(values) if values else 0.0
    assert one.variance == pytest.approx(wide, rel=1e-6, abs=1e-6)
    assert 0.0 <= one.correlation <= 0.99


@given(Values, Values)
def test_what_came_later_is_the_difference(first: list[float], later: list[float]) -> None:
    whole = series([*first, *later]).since(series(first))
    assert whole.count == len(later)
    assert whole.total == pytest.approx(sum(later), abs=1e-6)
    assert whole.pairs == (len(later) if first else max(0, len(later) - 1))


def test_values_that_come_in_runs_count_for_less() -> None:
    rng = random.Random(1)
    apart = series([rng.random() for _ in range(1000)])
    runs = series([value for value in (rng.random() for _ in range(50)) for _ in range(20)])
    assert apart.correlation < 0.1
    assert runs.correlation > 0.9
    assert independent(1000, runs.correlation) < 60
    assert difference_error(runs, runs) > 3 * difference_error(apart, apart)


def test_a_short_series_is_as_uncertain_as_the_long_one_says() -> None:
    rng = random.Random(1)
    long = series([rng.gauss(0, 1) for _ in range(1000)])
    still = series([0.5] * 25)
    assert difference_error(still, long) == pytest.approx(0.2, rel=0.2)
