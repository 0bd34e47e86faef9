"""What the pipeline makes of a frame, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_agent.cameras.source import Frame, Image
from edge_agent.detect.detector import Detections, Floats, Ints
from protocol.bundles import Manifest


@dataclass(frozen=True)
class FrameResult:
    """The answer to one frame, with the bundle that gave it.

    Attributes:
        detections: everything at or above the floor.
        served: bool (N,): which of them reach the bundle's serving threshold.
        calibrated: float32 (N,): confidences after the bundle's calibration; the raw ones
            where it has none.
        latency_ms: time in the runtime and the head, without preparation or waiting.
        result_at, result_monotonic: when the answer was there, on both clocks (s).
        inner: uint8 (h, w, 3), BGR: the frame as the model saw it, without padding.
        track_ids: int32 (N,): which object each detection is, -1 where none; None where the
            camera is not tracked.
    """

    camera: str
    slot: str
    frame: Frame
    bundle_digest: str
    manifest: Manifest
    detections: Detections
    served: npt.NDArray[np.bool_]
    calibrated: Floats
    latency_ms: float
    result_at: float
    result_monotonic: float
    inner: Image
    track_ids: Ints | None = None

    @property
    def model(self) -> str:
        return self.manifest.model

    @property
    def version(self) -> int:
        return self.manifest.version


class Sink(Protocol):
    """Takes results. All sinks are called by one thread, one after the other.

    What a sink raises is counted against it and seeing goes on.
    """

    name: str

    def take(self, result: FrameResult) -> None: ...

    def tick(self, now_s: float) -> None:
        """Called several times a second with Unix time, also while no frame comes."""

    def close(self) -> None:
        """Called once, after the last result."""
