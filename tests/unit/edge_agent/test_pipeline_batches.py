"""Cameras that share a detector share its batches, and nothing else."""

from __future__ import annotations

import threading
from random import Random

import numpy as np

from edge_agent.cameras.source import CameraSpec, Image
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import Detections
from edge_agent.detect.letterbox import Prepared
from edge_agent.ledger import ERROR, Ledger
from edge_agent.pipeline import Pipeline, PipelineLimits
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import (
    Collected,
    FakeDetector,
    detections,
    eventually,
    from_memory,
    manifest,
)

CAMERAS = ("a", "b", "c")
COUNT = 40


class GreyDetector(FakeDetector):
    """Sees in every frame one thing whose confidence is the frame's own grey level."""

    def infer(self, prepared: Prepared) -> tuple[Detections, ...]:
        super().infer(prepared)
        return tuple(detections((float(i.max()) / 255, 0)) for i in prepared.inners)


def grey(level: int) -> Image:
    return np.full((48, 64, 3), level, dtype=np.uint8)


def bundle(detector: FakeDetector, digest: str = "a" * 64) -> LoadedBundle:
    return LoadedBundle(digest, manifest(), detector)


def run(
    detector: FakeDetector, sink: Collected, during: threading.Event | None = None
) -> tuple[Pipeline, Slot, Ledger]:
    """Three cameras in order over one slot; each frame's grey level is its index."""
    slot, ledger = Slot("tiny"), Ledger(CAMERAS)
    slot.exchange(bundle(detector))
    pipeline = Pipeline(
        [CameraSpec(c, "memory", "tiny") for c in CAMERAS],
        {"tiny": slot},
        [sink],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        limits=PipelineLimits(gather_ms=20),
        open_source=from_memory([grey(i) for i in range(COUNT)], COUNT),
    )
    pipeline.start()
    if during is None:
        eventually(pipeline.ended, "all frames are answered")
        pipeline.stop()
    return pipeline, slot, ledger


def in_order(sink: Collected, camera: str) -> list[int]:
    return [r.frame.index for r in sink.results if r.camera == camera]


def test_frames_of_several_cameras_are_inferred_together() -> None:
    sink, detector = Collected(), GreyDetector(batch_max=3)
    run(detector, sink)
    assert max(detector.batches) == 3
    for camera in CAMERAS:
        assert in_order(sink, camera) == list(range(COUNT))
    for result in sink.results:
        assert result.detections.confidences[0] == np.float32(result.frame.index / 255)


def test_a_frame_that_fails_costs_only_itself() -> None:
    sink, detector = Collected(), GreyDetector(batch_max=3, fails_at_grey=7)
    _, _, ledger = run(detector, sink)
    for camera in CAMERAS:
        assert in_order(sink, camera) == [i for i in range(COUNT) if i != 7]
        assert ledger.account(camera).dropped == {ERROR: 1}
        assert ledger.account(camera).in_flight == 0


def test_an_exchange_to_a_smaller_batch_loses_no_frame() -> None:
    sink, hold = Collected(), threading.Event()
    pipeline, slot, ledger = run(GreyDetector(batch_max=3, hold=hold), sink, during=hold)
    after = GreyDetector(batch_max=1)
    slot.exchange(bundle(after, "b" * 64))
    hold.set()
    eventually(pipeline.ended, "all frames are answered")
    pipeline.stop()
    assert set(after.batches) == {1}
    for camera in CAMERAS:
        assert in_order(sink, camera) == list(range(COUNT))
        assert ledger.account(camera).dropped == {}
