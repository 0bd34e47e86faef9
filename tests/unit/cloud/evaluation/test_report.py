"""The report of an evaluation: the figure of record, and all that stands beside it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.evaluation.coco import ScoredBox, ScoredImage, score
from cloud.evaluation.report import definitions_compared, duplicate_rate, evaluation_report
from protocol.bundles import Calibration, Thresholds
from tests.unit.cloud.evaluation import drawn

NAMES = ("scratch", "dent", "hole")
HERE, NEAR = (10.0, 10.0, 50.0, 50.0), (10.0, 10.0, 50.0, 51.0)
SUMMARY = {"fps": 40.0, "latency_ms": {"median": 20.0, "p95": 25.0, "frames": 9}, "size_bytes": 7}


def report(
    images: list[ScoredImage], thresholds: Thresholds | None = None, **changed: Any
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tags": [{"camera": f"c{n % 2}", "site": "x"} for n in range(len(images))],
        "luminances": [None if n % 3 == 2 else 30.0 for n in range(len(images))],
        "summary": SUMMARY,
        **changed,
    }
    return evaluation_report(images, NAMES, thresholds or Thresholds(), None, **values)


def test_the_whole_is_the_figure_of_record_and_slices_are_what_it_would_say_of_them() -> None:
    images = drawn.a_set(24, np.random.default_rng(1))
    found, record = report(images), score(images)
    assert (found["map50"], found["map50_95"]) == (record.map50, record.map50_95)
    assert found["per_class"]["dent"]["map50"] == record.per_class[1].map50
    for place, camera in enumerate(("c0", "c1")):
        part = score(images[place::2])
        entry = found["per_camera"][camera]
        assert entry == found["per_slice"]["camera"][camera]
        assert entry["map50"] == pytest.approx(part.map50)
        assert entry["map50_95"] == pytest.approx(part.map50_95)
        assert (entry["images"], entry["truth_boxes"]) == (12, part.truth_boxes)
        assert entry["per_class"]["hole"]["map50"] == pytest.approx(part.per_class[2].map50)
    assert found["per_slice"]["lighting"]["dark"]["images"] == 16
    whole = found["per_slice"]["site"]["x"]
    for key in ("map50", "precision", "recall", "f1", "mean_confidence", "truth_boxes"):
        assert whole[key] == pytest.approx(found[key])
    assert (found["fps"], found["latency_ms_median"], found["latency_ms_p95"]) == (40, 20, 25)
    assert (found["size_bytes"], found["confidence_floor"]) == (7, 0.001)
    assert len(found["curves"]["per_class"]["dent"]["f1"]) == 41


def test_what_is_served_goes_by_the_threshold_of_its_class() -> None:
    truth = (ScoredBox(0, HERE), ScoredBox(1, HERE))
    seen = (ScoredBox(0, HERE, 0.4), ScoredBox(1, HERE, 0.4))
    found = report([ScoredImage(truth, seen)], Thresholds(default=0.25, per_class={1: 0.5}))
    assert (found["precision"], found["recall"]) == (1, 0.5)
    assert found["per_class"]["scratch"]["recall"] == 1
    assert found["per_class"]["dent"] == {
        "map50": pytest.approx(1), "map50_95": pytest.approx(1), "truth_boxes": 1,
        "threshold": 0.5, "precision": None, "recall": 0, "f1": 0,
    }  # fmt: skip
    assert "hole" not in found["per_class"]
    assert (found["served_boxes"], found["ece_detections"]) == (1, 2)


def test_calibration_changes_its_own_figure_only() -> None:
    images = drawn.a_set(10, np.random.default_rng(2))
    line = Calibration(raw=(0.0, 1.0), calibrated=(0.4, 0.6))
    plain = report(images)
    options: dict[str, Any] = {"tags": [{}] * 10, "luminances": [None] * 10, "summary": {}}
    found = evaluation_report(images, NAMES, Thresholds(), line, **options)
    assert plain["ece_calibrated"] is None, "without a calibrator there is nothing after it"
    assert plain["ece_raw"] == found["ece_raw"] != found["ece_calibrated"]
    assert 0 <= found["ece_calibrated"] <= 1
    assert found["map50"] == plain["map50"]
    assert (found["per_slice"], found["per_camera"]) == ({}, {})


@pytest.mark.parametrize(
    ("seen", "rate"),
    [
        ([(0, HERE, 0.9), (1, NEAR, 0.8)], 1 / 2),
        ([(0, HERE, 0.9), (0, NEAR, 0.9), (2, HERE, 0.9)], 2 / 3),
        ([(0, HERE, 0.9), (1, NEAR, 0.1)], 0.0),  # the second is not served
        ([(0, HERE, 0.9), (1, (10.0, 10.0, 50.0, 40.0), 0.8)], 0.0),  # overlaps by 0.75
        ([(0, HERE, 0.1)], None),
    ],
)
def test_a_duplicate_is_served_and_overlaps_a_more_confident_one(
    seen: list[tuple[int, tuple[float, float, float, float], float]], rate: float | None
) -> None:
    image = ScoredImage((), tuple(ScoredBox(c, box, p) for c, box, p in seen))
    assert duplicate_rate([image], Thresholds()) == rate


@settings(max_examples=30, deadline=None)
@given(st.lists(drawn.images, max_size=4))
def test_every_report_is_json(images: list[ScoredImage]) -> None:
    found = report(images)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["images"] == len(images)


def test_other_classes_and_other_numbers_of_tags_are_refused() -> None:
    alien = ScoredImage((), (ScoredBox(3, HERE, 0.5),))
    with pytest.raises(ValueError, match="class 3 is beyond the 3"):
        report([alien])
    with pytest.raises(ValueError, match="0 tags of 1"):
        report([ScoredImage((), ())], tags=[])


def test_definitions_are_compared() -> None:
    found = definitions_compared({"map50": 0.5, "map50_95": None}, {"map50": 0.51, "map50_95": 0.3})
    assert found["map50_difference"] == pytest.approx(0.01)
    assert (found["map50_95"], found["map50_95_difference"]) == (0.3, None)
