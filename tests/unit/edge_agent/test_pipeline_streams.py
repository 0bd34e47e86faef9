"""Inferences side by side change how soon an answer comes, never which or in what order."""

from __future__ import annotations

import threading
from random import Random

import pytest

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.detect import options
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import Detections
from edge_agent.detect.letterbox import Prepared
from edge_agent.detect.options import LoadOptions, streams_for
from edge_agent.ledger import Ledger
from edge_agent.pipeline import Pipeline, PipelineLimits
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import Collected, FakeDetector, eventually, from_memory, image, manifest


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "cores", lambda: 4)


class Meeting(FakeDetector):
    """Answers only when two threads infer at once, and then the later one first."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)
        self.second_done = threading.Event()

    def infer(self, prepared: Prepared) -> tuple[Detections, ...]:
        place = self.both.wait(20)
        answer = super().infer(prepared)
        if place == 0:
            self.second_done.wait(20)
            self.second_done.clear()
        else:
            self.second_done.set()
        return answer


def pipeline_of(slot: Slot, sink: Collected, count: int, streams: int) -> Pipeline:
    return Pipeline(
        [CameraSpec("a", "memory", "tiny")],
        {"tiny": slot},
        [sink],
        ledger=Ledger(["a"]),
        clock=Clock(),
        rng=Random(1),
        limits=PipelineLimits(streams_max=streams),
        open_source=from_memory([image()], count),
    )


def test_two_frames_are_inferred_at_once_and_delivered_in_order() -> None:
    slot, sink = Slot("tiny"), Collected()
    slot.exchange(LoadedBundle("a" * 64, manifest(), Meeting()))
    pipeline = pipeline_of(slot, sink, 40, streams=2)
    pipeline.start()
    eventually(pipeline.ended, "all frames are answered")
    pipeline.stop()
    assert [r.frame.index for r in sink.results] == list(range(40))


def test_no_frame_meets_an_earlier_bundle_than_the_one_before_it() -> None:
    slot, sink = Slot("tiny"), Collected()
    bundles = [LoadedBundle(f"{n:064x}", manifest(), FakeDetector()) for n in range(30)]
    slot.exchange(bundles[0])
    pipeline = pipeline_of(slot, sink, 3000, streams=4)
    pipeline.start()
    for place, bundle in enumerate(bundles[1:], start=1):
        # Each serves some frames before the next takes its place.
        eventually(
            lambda place=place: len(sink.results) >= place * 90 or pipeline.ended(),  # type: ignore[misc]
            "frames are answered between two exchanges",
        )
        previous = slot.exchange(bundle)
        assert previous is not None
        slot.release(previous)
    eventually(pipeline.ended, "all frames are answered")
    pipeline.stop()
    digests = [r.bundle_digest for r in sink.results]
    assert len(digests) == 3000
    assert digests == sorted(digests)
    assert len(set(digests)) > 20


@pytest.mark.parametrize(
    ("live", "streams_max", "expected"),
    [
        ([True], 2, 1),
        ([False], 2, 2),
        ([True, True], 2, 2),
        ([True, False], 3, 3),
        ([True] * 9, 64, 4),
        ([False], 1, 1),
        ([], 2, 1),
    ],
)
def test_one_live_camera_gets_all_threads(
    live: list[bool], streams_max: int, expected: int
) -> None:
    assert streams_for(live, streams_max) == expected


@pytest.mark.parametrize(
    ("threads", "streams", "expected"), [(0, 1, 0), (3, 1, 3), (0, 2, 2), (3, 2, 1), (1, 4, 1)]
)
def test_streams_share_the_threads(threads: int, streams: int, expected: int) -> None:
    assert LoadOptions(threads, streams=streams).threads_per_stream == expected
