from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.observe.counting import ClassCounts, Tally
from protocol.histograms import Histogram, confidence_histogram, milliseconds_histogram
from protocol.windows import WindowStats
from tests.fixtures.seeing import detections

EMPTY = [
    confidence_histogram(),
    milliseconds_histogram(),
    WindowStats().luminance,
    WindowStats().sharpness,
]
frames = st.lists(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 4)), max_size=20), max_size=10
)


@pytest.mark.parametrize("empty", EMPTY)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_a_tally_counts_as_the_protocol_does(empty: Histogram, values: list[float]) -> None:
    tally = Tally(empty)
    for value in values:
        tally.add(value)
    assert tally.histogram() == empty.add(values)


@given(frames)
def test_class_counts_equal_the_protocols_histograms(
    found: list[list[tuple[float, int]]],
) -> None:
    counts = ClassCounts(5)
    for rows in found:
        one = detections(*rows)
        counts.add(one, one.confidences >= 0.25)
    stats = counts.stats()
    every = [(float(np.float32(p)), c) for rows in found for p, c in rows]
    assert sorted(stats) == sorted({c for _, c in every})
    for class_id, seen in stats.items():
        mine = [p for p, c in every if c == class_id]
        assert seen.confidence == confidence_histogram().add(mine)
        assert seen.served == sum(p >= 0.25 for p in mine)
    total = sum(p for p, _ in every if p >= 0.25)
    assert math.isclose(counts.served_confidence_sum, total, abs_tol=1e-6)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_confidence_bins_equal_numpys(values: list[float]) -> None:
    counts = ClassCounts(1)
    one = detections(*((v, 0) for v in values))
    counts.add(one, one.confidences >= 0.5)
    edges = np.arange(21) / 20
    doubles = one.confidences.astype(np.float64)
    # numpy.histogram with bins=20 is exact at the edges only in one precision; digitize is so
    # in all, given the same edges.
    places = np.clip(np.digitize(doubles, edges) - 1, 0, 19)
    mine = np.array(counts.stats()[0].confidence.counts)
    # A value within rounding of an edge may fall to either side.
    near = int(sum(np.abs(doubles[:, None] - edges).min(axis=1) < 1e-12))
    assert np.abs(mine - np.bincount(places, minlength=20)).sum() <= 2 * near
