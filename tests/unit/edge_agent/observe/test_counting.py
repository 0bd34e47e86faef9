from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.detect.detector import Detections
from edge_agent.observe.counting import ClassCounts, Tally, WindowCounts
from edge_agent.observe.reading import MachineReading
from edge_agent.results import FrameResult
from protocol.histograms import Histogram, confidence_histogram, milliseconds_histogram
from protocol.windows import WindowStats, area_histogram
from tests.fixtures.seeing import image, result

EMPTY = [
    confidence_histogram(),
    milliseconds_histogram(),
    WindowStats().luminance,
    WindowStats().sharpness,
    WindowStats().temperature_c,
    area_histogram(),
]
boxes = st.tuples(*[st.floats(0, 64, width=32)] * 4)
frames = st.lists(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 4), boxes), max_size=20),
    max_size=10,
)
Found = list[tuple[float, int, tuple[float, float, float, float]]]
WIDTH, HEIGHT = 64, 48


def _seen(found: Found, calibrated: float = 1.0) -> FrameResult:
    """A result with these confidences, classes and corners; calibration is a factor."""
    if not found:
        return result(Detections.none())
    rows = np.array([b for _, _, b in found], np.float32)
    corners = np.sort(rows.reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    confidences = np.array([p for p, _, _ in found], np.float32)
    ids = np.array([c for _, c, _ in found], np.int32)
    one = result(
        Detections(corners, confidences, ids, confidences), classes=5, picture=image(WIDTH, HEIGHT)
    )
    return replace(
        one, served=confidences >= 0.25, calibrated=(confidences * calibrated).astype(np.float32)
    )


@pytest.mark.parametrize("empty", EMPTY)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_a_tally_counts_as_the_protocol_does(empty: Histogram, values: list[float]) -> None:
    tally = Tally(empty)
    for value in values:
        tally.add(value)
    assert tally.histogram() == empty.add(values)


@given(frames)
def test_class_counts_equal_the_protocols_histograms(found: list[Found]) -> None:
    counts = ClassCounts(5)
    for rows in found:
        counts.add(_seen(rows, calibrated=0.5))
    stats = counts.stats()
    every = [(np.float32(p), c) for rows in found for p, c, _ in rows]
    assert sorted(stats) == sorted({c for _, c in every})
    for class_id, seen in stats.items():
        mine = [p for p, c in every if c == class_id]
        assert seen.confidence == confidence_histogram().add(map(float, mine))
        halves = [float(np.float32(p * np.float32(0.5))) for p in mine]
        assert seen.calibrated == confidence_histogram().add(halves)
        assert seen.served == sum(p >= 0.25 for p in mine)
        assert seen.area.total == sum(seen.position) == len(mine)
    total = sum(float(p) for p, _ in every if p >= 0.25)
    assert math.isclose(counts.served_confidence_sum, total, abs_tol=1e-6)


@given(st.lists(boxes, min_size=1, max_size=30))
def test_areas_and_places_are_those_of_the_boxes(corners: list[Any]) -> None:
    counts = ClassCounts(5)
    one = _seen([(0.5, 0, b) for b in corners])
    counts.add(one)
    seen = counts.stats()[0]
    x1, y1, x2, y2 = one.detections.boxes.astype(np.float64).T
    shares = (x2 - x1) * (y2 - y1) / (WIDTH * HEIGHT)
    expected = area_histogram().add(shares.tolist())
    edges = np.log10(np.array(expected.edges()))
    near = int((np.abs(np.log10(np.maximum(shares, 1e-6))[:, None] - edges) < 1e-9).any(1).sum())
    apart = np.abs(np.array(seen.area.counts) - np.array(expected.counts)).sum()
    assert apart <= 2 * near, "a share within rounding of an edge may fall to either side"
    columns = np.clip(((x1 + x2) / 2 / WIDTH * 4).astype(int), 0, 3)
    rows = np.clip(((y1 + y2) / 2 / HEIGHT * 4).astype(int), 0, 3)
    cells = np.bincount(rows * 4 + columns, minlength=16)
    assert np.abs(np.array(seen.position) - cells).sum() <= 2 * _near_cells(one)


def _near_cells(one: FrameResult) -> int:
    """Boxes whose centre lies within rounding of a cell's edge."""
    b = one.detections.boxes.astype(np.float64)
    centres = np.stack([(b[:, 0] + b[:, 2]) / 2 / WIDTH, (b[:, 1] + b[:, 3]) / 2 / HEIGHT]) * 4
    return int((np.abs(centres - np.round(centres)) < 1e-5).any(axis=0).sum())


def test_a_box_under_two_classes_is_a_duplicate() -> None:
    counts, same = ClassCounts(5), (1.0, 2.0, 30.0, 40.0)
    counts.add(_seen([(0.9, 0, same), (0.6, 1, same), (0.1, 2, same), (0.5, 3, (0, 0, 9, 9))]))
    assert counts.duplicate_boxes == 1, "one of two that were served"


def test_what_the_meters_do_not_say_is_not_counted() -> None:
    window = WindowCounts(1)
    window.add_machine(MachineReading(cpu_percent=0.0))
    stats = window.stats(0, {})
    assert (stats.cpu_percent.total, stats.gpu_percent.total, stats.temperature_c.total) == (
        1,
        0,
        0,
    )
