"""What a soak says of memory and frames."""

from __future__ import annotations

import pytest

from tests.benchmarks.soak import Account, Soaked, memory_slope

pytest.importorskip("scipy", reason="the slope is scipy's")

HOUR_S = 3600.0


def _samples(mib_per_hour: float, noise_mib: float) -> list[tuple[float, float]]:
    """An hour of samples that step up and down by `noise_mib` around a line."""
    return [
        (at_s, 200 + mib_per_hour * at_s / HOUR_S + (noise_mib if at_s % 10 else -noise_mib))
        for at_s in range(0, int(HOUR_S), 5)
    ]


def test_steady_memory_is_within_noise() -> None:
    found = memory_slope(_samples(0.0, 0.5))
    assert found.mib_per_hour == pytest.approx(0.0, abs=0.05)
    assert found.within_noise


def test_a_leak_stands_out_of_the_noise() -> None:
    found = memory_slope(_samples(20.0, 0.5))
    assert found.mib_per_hour == pytest.approx(20.0, rel=0.05)
    assert found.growth_mib == pytest.approx(10.0, rel=0.05)
    assert not found.within_noise


def test_growth_of_the_first_half_is_warming_up() -> None:
    warming = [(at_s, 100.0 + at_s / 10) for at_s in range(0, 900, 5)]
    steady = [(at_s, 190.0) for at_s in range(900, 1800, 5)]
    assert memory_slope(warming + steady).within_noise


def test_a_frame_without_a_fate_is_unaccounted() -> None:
    lost = Account(captured=10, inferred=6, dropped={"superseded": 3})
    whole = Account(captured=5, inferred=4, dropped={"stopped": 1})
    soaked = Soaked(1.0, _samples(0, 0.1), {"a": lost, "b": whole}, 0, 0, 0)
    assert (lost.unaccounted, whole.unaccounted, soaked.unaccounted) == (1, 0, 1)
    assert soaked.as_dict()["frames"]["a"]["unaccounted"] == 1
