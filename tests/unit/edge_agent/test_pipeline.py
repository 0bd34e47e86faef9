from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import cv2
import pytest

from edge_agent.cameras.capture import OpenSource
from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.ledger import ERROR, NO_MODEL, STOPPED, SUPERSEDED, Ledger
from edge_agent.pipeline import Pipeline
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import Collected, eventually, fake_bundle, from_memory, image

FRAMES = [image(seed=s) for s in range(4)]


def build(
    cameras: list[CameraSpec],
    slots: list[Slot],
    sink: Collected,
    open_source: OpenSource | None = None,
) -> tuple[Pipeline, Ledger]:
    ledger = Ledger(c.id for c in cameras)
    pipeline = Pipeline(
        cameras,
        {s.name: s for s in slots},
        [sink],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        open_source=open_source,
    )
    return pipeline, ledger


def serving(name: str = "tiny", **detector: object) -> Slot:
    slot = Slot(name)
    slot.exchange(fake_bundle(**detector))  # type: ignore[arg-type]
    return slot


def test_every_frame_of_a_file_is_answered_in_order() -> None:
    sink = Collected()
    pipeline, ledger = build(
        [CameraSpec("a", "memory", "tiny")], [serving()], sink, from_memory(FRAMES, 100)
    )
    pipeline.start()
    eventually(pipeline.ended, "all frames are answered")
    pipeline.stop()
    assert [r.frame.index for r in sink.results] == list(range(100))
    assert sink.closed
    account = ledger.account("a")
    assert (account.captured, account.inferred, account.dropped) == (100, 100, {})
    assert pipeline.counters()["frames_inferred"] == 100
    latest = pipeline.latest("a")
    assert latest is not None
    assert latest.frame.index == 99


def test_a_slow_model_drops_live_frames_and_counts_each() -> None:
    sink, hold = Collected(), threading.Event()
    pipeline, ledger = build(
        [CameraSpec("a", "memory", "tiny", live=True)],
        [serving(hold=hold)],
        sink,
        from_memory(FRAMES, 50),
    )
    pipeline.start()
    eventually(lambda: ledger.account("a").captured == 50, "all frames are captured")
    hold.set()
    eventually(pipeline.ended, "those that are left are answered")
    pipeline.stop()
    account = ledger.account("a")
    assert account.in_flight == 0
    assert account.dropped[SUPERSEDED] == 50 - account.inferred
    assert [r.frame.index for r in sink.results][-1] == 49, "the newest wins"


def test_files_wait_for_a_model_and_live_frames_are_dropped() -> None:
    sink, slot = Collected(), Slot("tiny")
    cameras = [CameraSpec("file", "m", "tiny"), CameraSpec("live", "m", "tiny", live=True)]
    pipeline, ledger = build(cameras, [slot], sink, from_memory(FRAMES, 20))
    pipeline.start()
    eventually(lambda: ledger.account("live").dropped.get(NO_MODEL), "live frames are dropped")
    slot.exchange(fake_bundle())
    eventually(lambda: ledger.account("file").inferred == 20, "the file is complete")
    pipeline.stop()
    assert ledger.account("file").dropped == {}


def test_a_detector_that_fails_is_counted_and_the_other_slot_goes_on() -> None:
    sink = Collected()
    cameras = [CameraSpec("a", "m", "bad"), CameraSpec("b", "m", "good")]
    pipeline, ledger = build(
        cameras, [serving("bad", fails=True), serving("good")], sink, from_memory(FRAMES, 10)
    )
    pipeline.start()
    eventually(pipeline.ended, "all frames are accounted for")
    pipeline.stop()
    assert ledger.account("a").dropped == {ERROR: 10}
    assert ledger.account("b").inferred == 10
    assert pipeline.errors() == {"bad": "fails on purpose"}


def test_a_class_that_the_manifest_does_not_name_is_an_error() -> None:
    sink = Collected()
    pipeline, ledger = build(
        [CameraSpec("a", "m", "tiny")], [serving(class_id=7)], sink, from_memory(FRAMES, 3)
    )
    pipeline.start()
    eventually(pipeline.ended, "all frames are accounted for")
    pipeline.stop()
    assert ledger.account("a").dropped == {ERROR: 3}
    assert "names 2" in pipeline.errors()["tiny"]


def test_a_sink_that_fails_never_stops_seeing() -> None:
    sink = Collected(fails_on=frozenset({3, 4}))
    pipeline, _ = build([CameraSpec("a", "m", "tiny")], [serving()], sink, from_memory(FRAMES, 10))
    pipeline.start()
    eventually(pipeline.ended, "all frames are answered")
    pipeline.stop()
    assert [r.frame.index for r in sink.results] == [0, 1, 2, 5, 6, 7, 8, 9]
    assert pipeline.counters()["sink_errors_collected"] == 2


def test_stop_answers_what_a_worker_has_and_counts_the_rest() -> None:
    sink = Collected()
    pipeline, ledger = build(
        [CameraSpec("a", "m", "tiny")], [serving()], sink, from_memory(FRAMES, 10**9)
    )
    pipeline.start()
    eventually(lambda: len(sink.results) > 20, "it runs")
    pipeline.stop()
    account = ledger.account("a")
    assert account.in_flight == 0
    assert set(account.dropped) <= {STOPPED}
    assert len(sink.results) == account.inferred


def test_a_camera_that_is_not_there_does_not_trouble_the_others(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), FRAMES[0])
    sink = Collected()
    cameras = [CameraSpec("gone", "/not/there.mp4", "tiny"), CameraSpec("a", str(tmp_path), "tiny")]
    pipeline, ledger = build(cameras, [serving()], sink)
    pipeline.start()
    eventually(lambda: sink.results, "the other camera is seen")
    eventually(lambda: pipeline.camera_reports()["gone"].detail, "the first is reported")
    pipeline.stop()
    assert "/not/there.mp4" in pipeline.camera_reports()["gone"].detail
    assert ledger.account("a").inferred == 1


def test_a_configuration_that_cannot_run_is_refused() -> None:
    with pytest.raises(EdgeError, match="two cameras are named a"):
        build([CameraSpec("a", "m", "tiny")] * 2, [serving()], Collected())
    with pytest.raises(EdgeError, match="names the slot other; there are: tiny"):
        build([CameraSpec("a", "m", "other")], [serving()], Collected())
