from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.errors import MergeError
from protocol.histograms import Histogram, confidence_histogram, milliseconds_histogram
from protocol.windows import WindowStats, merge_all
from tests.unit.protocol import strategies as our


@given(our.histograms, our.histograms, our.histograms)
def test_merging_is_associative_and_commutative(a: Histogram, b: Histogram, c: Histogram) -> None:
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(confidence_histogram()) == a


@given(our.windows(), our.windows(), our.windows())
def test_windows_merge_in_any_order(a: WindowStats, b: WindowStats, c: WindowStats) -> None:
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert merge_all([a, b, c]) == merge_all([c, a, b])


@given(st.lists(st.floats(0, 1), max_size=200))
def test_counting_agrees_with_numpy(values: list[float]) -> None:
    ours = confidence_histogram().add(values)
    # A value within a rounding of an edge may fall to either side.
    edges = np.linspace(0, 1, 21)
    off_edge = [v for v in values if np.min(np.abs(edges - v)) > 1e-9 or v in (0.0, 1.0)]
    expected, _ = np.histogram(off_edge, bins=20, range=(0, 1))
    assert ours.total == len(values)
    assert confidence_histogram().add(off_edge).counts == tuple(int(n) for n in expected)


@given(st.lists(st.floats(0.2, 9e4), min_size=1, max_size=100))
def test_log_bins_hold_their_values(values: list[float]) -> None:
    histogram = milliseconds_histogram().add(values)
    edges = histogram.edges()
    for value in values:
        one = milliseconds_histogram().add([value])
        place = one.counts.index(1)
        assert edges[place] * (1 - 1e-9) <= value <= edges[place + 1] * (1 + 1e-9)
    assert histogram.total == len(values)


def test_what_lies_outside_goes_to_the_end_bins_and_nan_nowhere() -> None:
    histogram = confidence_histogram().add([-1.0, 2.0, math.inf, math.nan])
    assert (histogram.counts[0], histogram.counts[-1], histogram.total) == (1, 2, 3)


def test_unlike_bins_do_not_merge() -> None:
    with pytest.raises(MergeError, match="no common bins"):
        confidence_histogram().merge(Histogram.empty(0, 1, 10))


def test_unknown_is_none_not_zero() -> None:
    assert confidence_histogram().mean() is None
    assert confidence_histogram().quantile(0.5) is None
    assert WindowStats().mean_confidence() is None


def test_mean_and_quantile_are_within_a_bin() -> None:
    histogram = confidence_histogram().add([0.12] * 50 + [0.88] * 50)
    assert histogram.mean() == pytest.approx(0.5, abs=0.05)
    assert histogram.quantile(0.25) == pytest.approx(0.15)
    assert histogram.quantile(0.99) == pytest.approx(0.9)


@pytest.mark.parametrize(
    "bad",
    [
        {"low": 1, "high": 0, "counts": [1]},
        {"low": 0, "high": 1, "counts": [-1]},
        {"low": 0, "high": 1, "counts": []},
        {"low": 0, "high": 1, "counts": [1], "scale": "log"},
        {"low": 0, "high": 1, "counts": [0] * 257},
    ],
)
def test_impossible_histograms_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Histogram.model_validate(bad)
