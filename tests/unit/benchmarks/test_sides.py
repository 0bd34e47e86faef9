"""Sides of a comparison work in processes of their own."""

from __future__ import annotations

import os

import pytest

from tests.benchmarks.sides import Comparison, Turn, side


def steady(seconds_per_frame: float) -> Turn:
    return lambda frames: frames * seconds_per_frame


def elsewhere(parent: int) -> Turn:
    if os.getpid() == parent:
        raise AssertionError("made in the parent's process")
    return float


def broken() -> Turn:
    raise ValueError("no such model")


def test_a_side_answers_with_frames_per_second() -> None:
    with side(steady, 0.25) as found:
        assert found.fps(8) == pytest.approx(4.0)


def test_a_side_is_a_process_of_its_own() -> None:
    with side(elsewhere, os.getpid()) as found:
        assert found.fps(1) == 1.0


def test_what_fails_there_is_told_here() -> None:
    with pytest.raises(RuntimeError, match="ValueError: no such model"), side(broken):
        pass


def test_pairs_cancel_what_disturbs_both() -> None:
    quiet, busy = 40.0, 20.0
    found = Comparison([quiet * 1.1, busy * 1.1] * 20, [quiet, busy] * 20, 20)
    assert found.median == pytest.approx(1.1)
    assert found.interval == pytest.approx((1.1, 1.1))
