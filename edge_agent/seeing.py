"""The seeing half as the agent runs it: slots, sinks and pipeline, put together once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.config import AgentConfig
from edge_agent.harvest.sink import HarvestedSample, HarvestSink
from edge_agent.journal import WindowEmitted
from edge_agent.ledger import ERROR, Ledger
from edge_agent.observe.machine import Machine
from edge_agent.observe.windows import WindowSink
from edge_agent.outputs.jsonl import JsonlSink
from edge_agent.pipeline import OnCamera, Pipeline, PipelineLimits
from edge_agent.results import Sink
from edge_agent.update.slot import Slot
from edge_agent.update.states import SlotHealth
from protocol.messages import Desired, HarvestPolicy


@dataclass(frozen=True)
class Seeing:
    """Everything between the cameras and the agent's inbox."""

    slots: dict[str, Slot]
    pipeline: Pipeline
    ledger: Ledger
    windows: WindowSink
    harvest: HarvestSink
    cameras: tuple[CameraSpec, ...]

    def follow(self, desired: Desired) -> None:
        """Take the policies of a desired state."""
        self.windows.set_window_s(desired.telemetry_window_s)
        self.harvest.set_policy(desired.harvest)

    def health(self, slot: str) -> SlotHealth:
        """Frames of a slot's cameras since the start."""
        accounts = [self.ledger.account(c.id) for c in self.cameras if c.slot == slot]
        return SlotHealth(
            captured=sum(a.captured for a in accounts),
            inferred=sum(a.inferred for a in accounts),
            errors=sum(a.dropped.get(ERROR, 0) for a in accounts),
        )


def build_seeing(
    config: AgentConfig,
    clock: Clock,
    rng: Random,
    *,
    on_window: Callable[[WindowEmitted], None],
    on_sample: Callable[[HarvestedSample], None],
    on_camera: OnCamera,
    machine: Machine,
) -> Seeing:
    """Put the seeing half together; nothing is opened or started yet."""
    cameras = tuple(camera.spec() for camera in config.cameras)
    ledger = Ledger(camera.id for camera in cameras)
    slots = {name: Slot(name) for name in config.slots}
    defaults = Desired(device_id=config.device.id, generation=1)
    windows = WindowSink(
        defaults.telemetry_window_s,
        ledger,
        lambda *window: on_window(WindowEmitted(*window)),
        machine.read,
    )
    harvest = HarvestSink(HarvestPolicy(), rng, on_sample)
    sinks: list[Sink] = [windows, harvest]
    if config.outputs.jsonl is not None:
        sinks.append(JsonlSink(config.outputs.jsonl, config.outputs.rotate_bytes))
    pipeline = Pipeline(
        cameras,
        slots,
        sinks,
        ledger=ledger,
        clock=clock,
        rng=rng,
        limits=PipelineLimits(
            buffer_frames=config.limits.buffer_frames_max,
            gather_ms=config.limits.gather_ms,
            stop_timeout_s=config.limits.stop_s / 3,
        ),
        on_camera=on_camera,
    )
    return Seeing(slots, pipeline, ledger, windows, harvest, cameras)
