from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_agent.outputs.record import record
from edge_agent.results import FrameResult
from edge_agent.track.settings import TrackingSection
from edge_agent.track.stage import TrackingStage
from tests.fixtures.seeing import image, result
from tests.unit.edge_agent.rules.sections import apart, renamed

pytest.importorskip("lap", reason="the assignment is lap's")


def _at(given: FrameResult, index: int, connection: str = "c0ffee") -> FrameResult:
    frame = replace(
        given.frame, index=index, connection=connection, captured_monotonic=10 + index / 25
    )
    return replace(given, frame=frame)


def _ids(given: FrameResult) -> list[int]:
    assert given.track_ids is not None
    return [int(i) for i in given.track_ids]


def _stage() -> TrackingStage:
    return TrackingStage(["cam", "dom"], TrackingSection())


def test_only_tracked_cameras_get_ids_and_each_counts_for_itself() -> None:
    stage = _stage()
    for index in range(3):
        given = _at(apart(2), index)
        assert stage(replace(given, camera="other")).track_ids is None
        here, there = stage(given), stage(replace(given, camera="dom"))
    assert _ids(here) == _ids(there) == [1, 2]
    assert here.detections is given.detections


def test_lines_carry_the_ids_of_known_objects() -> None:
    stage = _stage()
    first, second = stage(_at(apart(1), 0)), stage(_at(apart(1), 1))
    assert "track_id" not in record(first)["detections"][0]
    assert json.loads(json.dumps(record(second)))["detections"][0]["track_id"] == 1


def test_a_new_connection_is_a_new_scene() -> None:
    stage = _stage()
    for index in range(3):
        stage(_at(apart(1), index))
    assert _ids(stage(_at(apart(1), 0, "decaf"))) == [-1]
    assert _ids(stage(_at(apart(1), 1, "decaf"))) == [2]


def test_another_picture_size_is_a_new_scene() -> None:
    stage = _stage()
    for index in range(3):
        stage(_at(apart(1), index))
    wide = result(apart(1).detections, picture=image(128, 48))
    assert _ids(stage(_at(wide, 3))) == [-1]


def test_another_model_takes_the_tracks_over_whatever_it_calls_them() -> None:
    # An overlap of a third is too little between two classes that are known.
    moved = _moved(apart(2, 1), 2.0)
    for given, expected in ((moved, [-1, -1]), (renamed(moved, "a", "b"), [1, 2])):
        stage = _stage()
        for index in range(3):
            stage(_at(apart(2), index))
        assert _ids(stage(_at(given, 3))) == expected


def test_frames_that_never_came_are_counted_as_steps() -> None:
    stage = _stage()
    for index in range(10):
        stage(_at(_moved(apart(1), index), index))
    assert _ids(stage(_at(_moved(apart(1), 16.0), 16))) == [1]


def _moved(given: FrameResult, x_px: float) -> FrameResult:
    shift = np.array([x_px, 0, x_px, 0], np.float32)
    moved = replace(given.detections, boxes=given.detections.boxes + shift)
    return replace(given, detections=moved)
