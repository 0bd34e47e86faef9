"""Frames to detections to sinks, for all cameras and slots of the device.

A capture thread per camera fills the feed of the camera's slot. Per slot one thread
prepares frames and one infers. One thread hands the results of all slots to the sinks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from edge_agent.cameras.capture import Capture, CaptureLimits, OnCamera, OpenSource
from edge_agent.cameras.feed import Feed
from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.delivery import Delivery, Stage
from edge_agent.detect.options import streams_for
from edge_agent.errors import EdgeError
from edge_agent.ledger import Ledger
from edge_agent.results import FrameResult, Sink
from edge_agent.slot_worker import SlotWorker
from edge_agent.update.slot import Slot
from protocol.messages import CameraReported

__all__ = ["OnCamera", "Pipeline", "PipelineLimits"]


@dataclass(frozen=True)
class PipelineLimits:
    """Bounds of the pipeline.

    Attributes:
        buffer_frames: frames that wait per camera that is read in order.
        streams_max: inferences of one slot that run side by side (see `streams_for`).
        gather_ms: how long a frame waits for others where the model takes several at once.
        stop_timeout_s: how long `stop` waits for each thread.
    """

    buffer_frames: int = 4
    streams_max: int = 2
    gather_ms: float = 5.0
    stop_timeout_s: float = 10.0
    capture: CaptureLimits = field(default_factory=CaptureLimits)


class Pipeline:
    """All threads between cameras and sinks.

    Args:
        slots: by name; each camera's `slot` must be among them.
        sinks: called in this order, by one thread.
        ledger: where captured, inferred and dropped frames are counted.
        on_camera: told of each change of a camera's state, by that camera's thread.
        open_source: how sources are opened, where they do not come from outside.
        stage: what is added to each result before the sinks see it.

    Raises:
        EdgeError: two cameras share an id, or one names a slot that there is not.
    """

    def __init__(
        self,
        cameras: Sequence[CameraSpec],
        slots: Mapping[str, Slot],
        sinks: Sequence[Sink],
        *,
        ledger: Ledger,
        clock: Clock,
        rng: Random,
        limits: PipelineLimits | None = None,
        on_camera: OnCamera | None = None,
        open_source: OpenSource | None = None,
        stage: Stage | None = None,
    ) -> None:
        _check(cameras, slots)
        self._limits = limits or PipelineLimits()
        self._ledger = ledger
        self._delivery = Delivery(sinks, clock, stage)
        self._feeds = {
            name: Feed([c for c in cameras if c.slot == name], self._limits.buffer_frames, ledger)
            for name in slots
        }
        self._workers = [
            SlotWorker(
                slot,
                self._feeds[name],
                ledger=ledger,
                clock=clock,
                deliver=self._delivery.put,
                streams=streams_for(
                    [c.is_live for c in cameras if c.slot == name], self._limits.streams_max
                ),
                gather_s=self._limits.gather_ms / 1000,
            )
            for name, slot in slots.items()
        ]
        self._captures = {
            c.id: Capture(
                c,
                self._feeds[c.slot],
                ledger=ledger,
                clock=clock,
                rng=rng,
                limits=self._limits.capture,
                on_camera=on_camera,
                open_source=open_source,
            )
            for c in cameras
        }

    def start(self) -> None:
        """Start all threads, sinks first."""
        self._delivery.start()
        for worker in self._workers:
            worker.start()
        for capture in self._captures.values():
            capture.start()

    def stop(self) -> None:
        """End all threads: captures, then workers, then sinks, which are closed.

        A frame that a worker has is answered; one that waits is counted as dropped.
        """
        for capture in self._captures.values():
            capture.stop()
        for worker in self._workers:
            worker.stop()
        for feed in self._feeds.values():
            feed.close()
        for capture in self._captures.values():
            capture.join(self._limits.stop_timeout_s)
        for worker in self._workers:
            worker.join(self._limits.stop_timeout_s)
        self._delivery.finish(self._limits.stop_timeout_s)

    def camera_reports(self) -> dict[str, CameraReported]:
        """What to report of each camera, by its id."""
        return {camera: capture.report() for camera, capture in self._captures.items()}

    def latest(self, camera: str) -> FrameResult | None:
        """The last result of a camera, for a snapshot; None before the first."""
        return self._delivery.latest(camera)

    def counters(self) -> dict[str, int]:
        """Frames by fate over all cameras, unreadable images, and errors by sink."""
        total = {"frames_captured": 0, "frames_inferred": 0, "images_unreadable": 0}
        total["camera_retries"] = 0
        for camera in self._captures:
            account = self._ledger.account(camera)
            total["frames_captured"] += account.captured
            total["frames_inferred"] += account.inferred
            total["images_unreadable"] += account.unreadable
            total["camera_retries"] += account.retries
            for cause, frames in account.dropped.items():
                name = f"frames_dropped_{cause}"
                total[name] = total.get(name, 0) + frames
        return total | {f"sink_errors_{n}": e for n, e in self._delivery.errors().items()}

    def errors(self) -> dict[str, str]:
        """The last error of each slot's detector, by slot; empty where there was none."""
        return {w.name: w.last_error for w in self._workers if w.last_error}

    def ended(self) -> bool:
        """Whether every source has come to its end and no frame is in flight."""
        return all(
            capture.ended and not self._ledger.account(camera).in_flight
            for camera, capture in self._captures.items()
        )


def _check(cameras: Sequence[CameraSpec], slots: Mapping[str, Slot]) -> None:
    ids = [c.id for c in cameras]
    for camera in cameras:
        if ids.count(camera.id) > 1:
            raise EdgeError(f"two cameras are named {camera.id}; give each its own id")
        if camera.slot not in slots:
            raise EdgeError(
                f"camera {camera.id} names the slot {camera.slot}; "
                f"there are: {', '.join(slots) or 'none'}"
            )
