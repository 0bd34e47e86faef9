from __future__ import annotations

import pytest

from edge_agent.local.figures import BOUNDS_S, Figures
from tests.fixtures.seeing import result


def test_rates_are_unknown_then_known_then_zero() -> None:
    figures = Figures()
    assert figures.of("cam", 0.0).results_per_s is None
    for i in range(31):
        figures.take(result(at_s=1000 + i / 10))
    assert figures.of("cam", 1003.0).results_per_s == pytest.approx(10)
    assert figures.of("cam", 1100.0).results_per_s == 0.0
    assert figures.of("other", 1003.0).results_per_s is None


def test_durations_are_counted_in_bins() -> None:
    figures = Figures()
    assert figures.of("cam", 0.0).latency.mean_ms() is None
    figures.take(result(at_s=10.0))  # captured at 10.0, 5 ms in the runtime
    figures.take(result(at_s=20.0))
    found = figures.of("cam", 20.0)
    assert found.latency.counts[BOUNDS_S.index(0.005)] == 2
    assert found.latency.mean_ms() == pytest.approx(5)
    assert (found.age.counts[0], found.age.counts[-1], found.age.sum_s) == (1, 1, 10)
    assert found.served == 2


def test_a_camera_is_silent_since_its_last_result_and_for_ever_before_the_first() -> None:
    figures = Figures()
    assert figures.silent_s("cam", 1000.0) == float("inf")
    figures.take(result(at_s=1000.0))
    figures.take(result(at_s=1002.0))
    assert figures.silent_s("cam", 1005.0) == pytest.approx(3)
    assert figures.silent_s("other", 1005.0) == float("inf")
