"""The sink that sends images back: scores a frame, asks the sampler, encodes the chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from edge_agent.results import FrameResult
from protocol.messages import DetectedBox, HarvestPolicy

Reason = Literal["uncertain", "random", "snapshot"]


@dataclass(frozen=True)
class HarvestedSample:
    """An image chosen to be sent back; the fields are those of protocol SampleReport."""

    camera: str
    slot: str
    bundle_digest: str
    jpeg: bytes
    width: int
    height: int
    reason: Reason
    selection_probability: float
    uncertainty: float
    frame_id: str
    captured_at: float
    detections: tuple[DetectedBox, ...]


class HarvestSink:
    """Sink `harvest`; `set_policy` may be called by any thread."""

    name = "harvest"

    def __init__(
        self, policy: HarvestPolicy, rng: Random, emit: Callable[[HarvestedSample], None]
    ) -> None: ...

    def set_policy(self, policy: HarvestPolicy) -> None: ...

    def take(self, result: FrameResult) -> None: ...

    def tick(self, wall_s: float, monotonic_s: float) -> None: ...

    def close(self) -> None: ...


def snapshot(result: FrameResult) -> HarvestedSample:
    """The frame of `result` as a sample that was asked for."""
    raise ValueError(result.camera)
