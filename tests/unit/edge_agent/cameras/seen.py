"""A real pipeline over given cameras, with what it saw and what the cameras said."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.ledger import Ledger
from edge_agent.pipeline import Pipeline, PipelineLimits
from edge_agent.results import FrameResult
from edge_agent.update.slot import Slot
from protocol.states import CameraState
from tests.fixtures.seeing import Collected, eventually, fake_bundle

LIMITS = CaptureLimits(
    open_timeout_s=2, read_timeout_s=2, backoff_base_s=0.2, backoff_cap_s=0.5, stable_after_s=3
)


@dataclass
class Seen:
    """What came of the cameras so far."""

    pipeline: Pipeline
    ledger: Ledger
    sink: Collected
    states: list[tuple[float, str, CameraState, str]] = field(default_factory=list)

    def of(self, camera: str) -> list[FrameResult]:
        return [r for r in self.sink.results if r.camera == camera]

    def wait_frames(self, camera: str, more: int = 30, deadline_s: float = 30) -> None:
        """Wait until `more` frames of the camera were answered, from now on."""
        wanted = self.ledger.account(camera).inferred + more
        eventually(
            lambda: self.ledger.account(camera).inferred >= wanted,
            f"{more} more frames of {camera}",
            deadline_s,
        )

    def wait_state(
        self, camera: str, state: CameraState, since_s: float, deadline_s: float = 30
    ) -> float:
        """When (monotonic, s) the camera first said after `since_s` that it is in `state`."""

        def said() -> list[float]:
            return [t for t, c, s, _ in self.states if c == camera and s is state and t >= since_s]

        eventually(said, f"{camera} is {state.value}", deadline_s)
        return said()[0]

    def assert_accounted(self) -> None:
        """Captured = inferred + dropped by cause, with nothing left in flight."""
        for camera in self.pipeline.camera_reports():
            account = self.ledger.account(camera)
            assert account.captured == account.inferred + sum(account.dropped.values())
            assert len(self.of(camera)) == account.inferred


@contextlib.contextmanager
def seeing(cameras: Sequence[CameraSpec], limits: CaptureLimits = LIMITS) -> Iterator[Seen]:
    """A running pipeline with a detector that answers at once; stopped and counted at the end."""
    slot, ledger, sink = Slot("tiny"), Ledger(c.id for c in cameras), Collected()
    slot.exchange(fake_bundle())
    states: list[tuple[float, str, CameraState, str]] = []
    pipeline = Pipeline(
        cameras,
        {"tiny": slot},
        [sink],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        limits=PipelineLimits(capture=limits),
        on_camera=lambda c, s, d: states.append((time.monotonic(), c, s, d)),
    )
    seen = Seen(pipeline, ledger, sink, states)
    pipeline.start()
    try:
        yield seen
    finally:
        pipeline.stop()
    seen.assert_accounted()
