"""Frames to detections to sinks, for all cameras and slots of the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.ledger import Ledger
from edge_agent.results import FrameResult, Sink
from edge_agent.update.slot import Slot
from protocol.messages import CameraReported
from protocol.states import CameraState

OnCamera = Callable[[str, CameraState, str], None]
"""Told of each change of a camera's state: camera, state, detail. Called by its thread."""


@dataclass(frozen=True)
class PipelineLimits:
    """Every bound of the pipeline.

    Attributes:
        buffer_frames: frames that wait per camera that is read in order.
        stale_after_s: a live picture that does not change for so long is reported as stale.
        reopen_after_s: and after so long the source is opened again.
        open_timeout_s, read_timeout_s: for network streams.
        backoff_base_s, backoff_cap_s: between tries to open a source.
        stable_after_s: uptime after which the count of failures starts anew.
        stop_timeout_s: how long `stop` waits for each thread.
    """

    buffer_frames: int = 4
    stale_after_s: float = 10.0
    reopen_after_s: float = 120.0
    open_timeout_s: float = 5.0
    read_timeout_s: float = 5.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    stable_after_s: float = 30.0
    stop_timeout_s: float = 10.0


class Pipeline:
    """All threads between cameras and sinks.

    Args:
        slots: by name; each camera's `slot` must be among them.
        sinks: called in this order, by one thread.
        ledger: where captured, inferred and dropped frames are counted.
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
    ) -> None: ...

    def start(self) -> None:
        """Start all threads."""

    def stop(self) -> None:
        """Stop all threads; frames that wait are counted as dropped, sinks are closed."""

    def camera_reports(self) -> dict[str, CameraReported]:
        """What to report of each camera, by its id."""
        return {}

    def latest(self, camera: str) -> FrameResult | None:
        """The last result of a camera, for a snapshot; its `inner` is not valid."""
        return None

    def counters(self) -> dict[str, int]:
        """Frames by fate over all cameras, unreadable images, and errors by sink."""
        return {}

    def ended(self) -> bool:
        """Whether every camera's source has come to its end and all its frames are answered."""
        return False
