"""When ranges say that a build was calibrated on something else."""

from __future__ import annotations

import numpy as np
import pytest

from cloud.building.ranges import Fit, Range, measure, summary

UNIT = Range("t", 0.0, 1.0)


def test_a_tensor_that_fills_its_range_fits() -> None:
    fit = measure(UNIT, [np.linspace(0, 1, 256)])
    assert fit.clipped == 0.0
    assert fit.used == pytest.approx(1.0)


def test_what_lies_outside_is_counted_and_half_a_step_is_not() -> None:
    values = np.array([0.0, 0.5, 1.0 + 0.4 / 255, 1.1, -0.2], np.float32)
    assert measure(UNIT, [values]).clipped == pytest.approx(2 / 5)


def test_the_used_part_is_that_inside() -> None:
    assert measure(UNIT, [np.array([0.4, 0.5])]).used == pytest.approx(0.1)
    assert measure(UNIT, [np.array([-5.0, 5.0])]).used == pytest.approx(1.0)
    assert measure(UNIT, [np.array([3.0, 4.0])]).used == 0.0


def test_a_few_bad_tensors_are_no_hint() -> None:
    fits = [Fit(str(i), 0.5 if i == 0 else 0.0, 1.0) for i in range(20)]
    found = summary(fits, 8)
    assert (found["tensors"], found["clipped_tensors"], found["hint"]) == (20, 1, None)
    assert found["worst"][0]["tensor"] == "0"


def test_many_cut_tensors_are_one() -> None:
    hint = summary([Fit(str(i), 0.01 * (i < 5), 1.0) for i in range(20)], 8)["hint"]
    assert hint.startswith("5 of 20 quantised tensors cut off over 0.1%")
    assert "calibrate it on these" in hint


def test_many_empty_ranges_are_one() -> None:
    hint = summary([Fit(str(i), 0.0, 0.01) for i in range(20)], 8)["hint"]
    assert hint.startswith("20 of 20 use under 5% of their range")


def test_without_quantised_tensors_there_is_nothing_to_say() -> None:
    assert summary([], 8)["hint"] is None
