"""The simulation's own claims, and that the gate is right on it, in small."""

from __future__ import annotations

import numpy as np
import pytest

from cloud.evaluation import average_precision
from cloud.promotion import bootstrap, simulation
from cloud.promotion.simulation import World
from tests.benchmarks import bench_gate


def test_the_true_map50_is_what_large_sets_show() -> None:
    for separation in (1.5, 3.0):
        world = World(separation=separation)
        rng = np.random.default_rng(1)
        seen = [
            float(average_precision.map50(simulation.pair(world, 400, rng)[0])) for _ in range(4)
        ]
        assert np.mean(seen) == pytest.approx(simulation.true_map50(world), abs=0.01)


def test_worlds_and_shifts_are_found_for_what_is_asked() -> None:
    world = simulation.of_quality(World(), 0.9)
    assert simulation.true_map50(world) == pytest.approx(0.9, abs=1e-3)
    shift = simulation.shift_for(world, 0.05)
    assert simulation.true_map50(world, shift) == pytest.approx(0.85, abs=1e-3)
    assert simulation.shift_for(world, 0.0) == 0.0


def test_the_bootstraps_error_is_the_spread_over_new_sets() -> None:
    world = simulation.of_quality(World(), 0.9)
    rng = np.random.default_rng(2)
    values, errors = [], []
    for number in range(30):
        candidate, incumbent = simulation.pair(world, 150, rng)
        images = [f"{i:03d}" for i in range(150)]
        weights = bootstrap.image_weights(images, 200, np.random.default_rng(number))
        found = bootstrap.paired_precision(candidate, incumbent, weights)
        estimate = found.overall(range(6))
        values.append(estimate.value)
        errors.append(estimate.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.35)


def test_one_object_is_the_smallest_error_that_is_told() -> None:
    rng = np.random.default_rng(0)
    candidate, _ = simulation.pair(World(), 40, rng)
    images = [f"{i:02d}" for i in range(40)]
    found = bootstrap.paired_precision(
        candidate, candidate, bootstrap.image_weights(images, 200, rng)
    )
    assert found.of(0).value == 0
    assert found.of(0).error == pytest.approx(1 / found.truth_boxes[0])


def test_the_interval_of_a_share() -> None:
    share, low, high = simulation.acceptance(["PASS"] * 8 + ["FAIL"] * 2)
    assert (share, low, high) == pytest.approx((0.8, 0.490, 0.943), abs=1e-3)
    assert simulation.acceptance(["PASS"] * 4)[0] == 1.0


def test_the_gate_accepts_equals_and_no_worse_ones_in_small() -> None:
    equal = [v for v, _ in bench_gate.gates((0.97, 300, 0.0), 0, 6)]
    worse = [v for v, _ in bench_gate.gates((0.97, 150, 0.05), 0, 6)]
    assert equal.count("PASS") >= 4
    assert worse.count("PASS") == 0
