"""How sure a figure is: against what is known of series whose memory is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollouts.gating import resampling
from cloud.rollouts.gating.evidence import Floats
from cloud.rollouts.gating.resampling import Estimate

STUDENT = ((1.812, 10, 0.05), (2.228, 10, 0.025), (4.144, 10, 0.001), (2.920, 2, 0.05),
           (1.671, 60, 0.05), (2.776, 4, 0.025))  # fmt: skip


def series(rng: np.random.Generator, rows: int, steps: int, keep: float) -> Floats:
    """First-order series (rows, steps) of deviation 1."""
    values = rng.standard_normal((rows, steps))
    for n in range(1, steps):
        values[:, n] = keep * values[:, n - 1] + math.sqrt(1 - keep**2) * values[:, n]
    return values


@pytest.mark.parametrize(("t", "freedom", "alpha"), STUDENT)
def test_students_t_is_as_in_the_tables(t: float, freedom: float, alpha: float) -> None:
    assert resampling.t_quantile(alpha, freedom) == pytest.approx(t, rel=0.02)
    assert resampling.t_tail(t, freedom) == pytest.approx(alpha, rel=0.05)


@given(alpha=st.floats(1e-9, 0.49), freedom=st.floats(2, 1000))
def test_quantile_and_tail_undo_each_other(alpha: float, freedom: float) -> None:
    t = resampling.t_quantile(alpha, freedom)
    assert resampling.t_tail(t, freedom) == pytest.approx(alpha, rel=1e-6)
    assert resampling.t_tail(-t, freedom) == pytest.approx(1 - alpha, rel=1e-6)


@given(value=st.floats(-2, 2), error=st.floats(0, 2), bound=st.floats(-1, 1))
def test_the_interval_and_the_test_say_the_same(value: float, error: float, bound: float) -> None:
    estimate, alpha = Estimate(value, error, 7.0), 0.03
    apart = value - estimate.reach(alpha) - bound
    if abs(apart) > 1e-9:
        assert (estimate.p_above(bound) < alpha) == (apart > 0)


def test_blocks_are_as_long_as_the_series_remembers() -> None:
    rng = np.random.default_rng(1)
    lengths = [resampling.block_length(series(rng, 4, 400, keep)) for keep in (0.0, 0.6, 0.9, 0.97)]
    assert lengths == sorted(lengths)
    assert lengths[0] <= 3
    assert lengths[3] >= 15


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 50])
def test_a_series_of_nothing_has_blocks_of_one(steps: int) -> None:
    for values in (np.zeros((2, steps)), np.full((2, steps), np.nan), np.zeros((0, steps))):
        assert resampling.block_length(values) == 1


@given(
    steps=st.integers(1, 40),
    length=st.integers(1, 50),
    rounds=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_every_round_draws_as_many_steps_as_there_are(
    steps: int, length: int, rounds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights = resampling.block_weights(steps, length, rounds, rng)
    assert weights.shape == (rounds + 1, steps)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == steps).all()


@pytest.mark.parametrize("keep", [0.0, 0.7, 0.9])
def test_the_error_of_a_mean_is_its_spread_over_new_series(keep: float) -> None:
    """Drawn one by one, steps that remember look far more certain than they are."""
    rng = np.random.default_rng(2)
    steps = 400
    means: list[float] = []
    errors: list[float] = []
    naive: list[float] = []
    for _ in range(60):
        values = series(rng, 1, steps, keep)
        means.append(float(values.mean()))
        for length, found in ((resampling.block_length(values), errors), (1, naive)):
            drawn = resampling.block_weights(steps, length, 200, rng)[1:] @ values[0] / steps
            found.append(float(drawn.std()))
    spread = float(np.std(means))
    assert 0.65 * spread < np.mean(errors) < 1.3 * spread
    if keep == 0.9:
        assert np.mean(naive) < 0.35 * spread


def test_a_camera_borrows_certainty_of_the_others_and_never_smallness() -> None:
    own = Estimate(1.0, 0.1, 3.0)
    assert resampling.moderated(own, 0.3, 5) == Estimate(1.0, 0.3, 15.0)
    assert resampling.moderated(own, 0.05, 50).error == 0.1
    assert resampling.moderated(own, 0.05, 50).freedom == 3.0 * resampling.LENT_MAX
