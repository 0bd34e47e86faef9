from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.track.motion import Motion, born, measured

pixel = st.floats(1, 2000, width=32)
row = st.tuples(pixel, pixel, pixel, pixel)


def _moving(rows: list[tuple[float, ...]], seed: int) -> Motion:
    """Boxes that were seen twice, so that they have velocities and all of a covariance."""
    first = np.array(rows, np.float64)
    shift = np.random.default_rng(seed).normal(0, 3, first.shape)
    return born(first).predicted(1).corrected(first + shift)


@given(st.lists(row, min_size=1, max_size=5), st.integers(0, 9), st.integers(0, 99))
def test_n_steps_at_once_are_n_single_steps(
    rows: list[tuple[float, ...]], steps: int, seed: int
) -> None:
    once = _moving(rows, seed)
    one_by_one = once
    for _ in range(steps):
        # The noise of all steps is in proportion to the size at the first.
        scale = once.position[:, 2:]
        held = Motion(
            np.concatenate([one_by_one.position[:, :2], scale], axis=1),
            *(getattr(one_by_one, f.name) for f in fields(Motion)[1:]),
        )
        stepped = held.predicted(1)
        sizes = one_by_one.position[:, 2:] + one_by_one.velocity[:, 2:]
        one_by_one = Motion(
            np.concatenate([stepped.position[:, :2], sizes], axis=1),
            *(getattr(stepped, f.name) for f in fields(Motion)[1:]),
        )
    at_once = once.predicted(steps)
    for part in fields(Motion):
        assert getattr(at_once, part.name) == pytest.approx(
            getattr(one_by_one, part.name), rel=1e-9, abs=1e-9
        )


def test_it_is_the_textbook_filter() -> None:
    """Against the same filter written with matrices, of one coordinate."""
    motion = born(np.array([[100.0, 50.0, 20.0, 40.0]]))
    state = np.array([100.0, 0.0])
    covariance = np.diag([(2 * 20 / 20) ** 2, (10 * 20 / 160) ** 2])
    forward, sees = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    noise = np.diag([(20 / 20) ** 2, (20 / 160) ** 2])
    for x in (103.0, 105.0, 109.0, 110.0):
        seen = np.array([[x, 50.0, 20.0, 40.0]])
        motion = motion.predicted(1).corrected(seen)
        state, covariance = forward @ state, forward @ covariance @ forward.T + noise
        total = sees @ covariance @ sees.T + (20 / 20) ** 2
        gain = covariance @ sees.T / total
        state = state + gain[:, 0] * (x - state[0])
        covariance = (np.eye(2) - gain @ sees) @ covariance
    assert motion.position[0, 0] == pytest.approx(state[0])
    assert motion.velocity[0, 0] == pytest.approx(state[1])
    assert motion.var_position[0, 0] == pytest.approx(covariance[0, 0])
    assert motion.covariance[0, 0] == pytest.approx(covariance[0, 1])
    assert motion.var_velocity[0, 0] == pytest.approx(covariance[1, 1])


@given(st.lists(row, min_size=1, max_size=8))
def test_boxes_and_centres_are_the_same_thing(rows: list[tuple[float, ...]]) -> None:
    there = np.array(rows, np.float64)
    assert measured(born(there).boxes()) == pytest.approx(there, rel=1e-6, abs=1e-6)


def test_what_is_out_of_sight_moves_on_and_keeps_its_size() -> None:
    motion = born(np.array([[0.0, 0.0, 50.0, 50.0]] * 2))
    for i in range(1, 20):
        motion = motion.predicted(1).corrected(np.array([[4.0 * i, 0.0, 50.0 - i, 50.0 - i]] * 2))
    later = motion.predicted(5, np.array([True, False]))
    assert later.position[:, 0] == pytest.approx([96.0, 96.0], abs=2)
    assert later.position[0, 2] == motion.position[0, 2]
    assert later.position[1, 2] < motion.position[1, 2] - 3
