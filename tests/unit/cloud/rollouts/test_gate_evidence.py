"""Windows as they were stored, as a gate reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.rollouts.gating.evidence import read_windows
from protocol.histograms import Histogram, confidence_histogram, milliseconds_histogram
from protocol.messages import TelemetryReport, encode
from protocol.windows import ClassStats, WindowStats

confidences = st.lists(st.floats(0, 1), max_size=12)
by_class = st.dictionaries(st.integers(0, 5), confidences, max_size=4)


def message(stats: WindowStats, start: float = 0.0) -> tuple[float, float, str]:
    report = TelemetryReport(
        device_id="dev-1", epoch="ab" * 16, sequence=1, camera="cam", slot="caps",
        bundle_digest="1" * 64, window_start=start, window_end=start + 10, stats=stats,
    )  # fmt: skip
    return start, start + 10, encode(report).decode()


@given(seen=by_class)
@settings(max_examples=50)
def test_sums_are_those_of_the_histograms(seen: dict[int, list[float]]) -> None:
    histograms = {k: confidence_histogram().add(values) for k, values in seen.items()}
    stats = WindowStats(
        frames_captured=9,
        frames_inferred=7,
        frames_dropped={"queue": 1, "late": 1},
        classes={k: ClassStats(calibrated=h) for k, h in histograms.items()},
        latency_ms=milliseconds_histogram().add([3.0, 30.0]),
    )
    found = read_windows([message(stats)])
    assert (found.frames[0], found.captured[0], found.dropped[0]) == (7, 9, 2)
    assert found.latency.sum() == 2
    means = {k: (h.mean() or 0.0) * h.total for k, h in histograms.items()}
    assert found.worth[0] == pytest.approx(sum(means.values()))
    for k, name in enumerate(found.class_names):
        assert found.class_worth[0, k] == pytest.approx(means[int(name)])
    assert (found.worth >= found.squares).all()
    assert (found.squares >= found.cubes).all()
    assert (found.cubes >= found.fourths).all()


def test_windows_stand_in_the_order_of_time_and_classes_have_their_names() -> None:
    some = WindowStats(classes={1: ClassStats(calibrated=confidence_histogram().add([0.9]))})
    found = read_windows([message(some, 50.0), message(WindowStats(), 20.0)], ["cap", "lid"])
    assert found.start_s.tolist() == [20.0, 50.0]
    assert found.length_s.tolist() == [10.0, 10.0]
    assert found.class_names == ("lid",)
    assert found.class_worth[:, 0].tolist() == [0.0, pytest.approx(0.925)]
    assert read_windows([message(some)], ["cap"]).class_names == ("1",)


def test_no_windows_are_none() -> None:
    found = read_windows([])
    assert (len(found), found.class_worth.shape, found.latency.shape[0]) == (0, (0, 0), 0)


def test_light_is_its_mean_and_not_known_where_it_was_not_measured() -> None:
    bright = WindowStats(luminance=Histogram.empty(0, 255, 16).add([100.0, 100.0]))
    found = read_windows([message(bright), message(WindowStats(), 20.0)])
    assert found.luminance[0] == pytest.approx(100.0, abs=8)
    assert np.isnan(found.luminance[1])


def test_other_bins_than_the_protocols_are_not_known() -> None:
    odd = ClassStats(calibrated=Histogram.empty(0.0, 1.0, 7).add([0.9]))
    stats = WindowStats(classes={0: odd}, latency_ms=Histogram.empty(1.0, 9.0, 60).add([3.0]))
    found = read_windows([message(stats)])
    assert (found.worth[0], found.latency.sum()) == (0.0, 0.0)


def test_a_window_of_an_older_agent_is_read() -> None:
    start, end, text = message(WindowStats(frames_inferred=3))
    values = json.loads(text)
    values["stats"] = {"frames_inferred": 3, "classes": {"0": {}}}
    found = read_windows([(start, end, json.dumps(values))])
    assert (found.frames[0], found.worth[0]) == (3, 0.0)
