"""The seeing half as the agent runs it: slots, sinks, channels and pipeline, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.config import AgentConfig
from edge_agent.detect.options import LoadOptions, streams_for
from edge_agent.harvest.sink import HarvestedSample, HarvestSink
from edge_agent.journal import WindowEmitted
from edge_agent.ledger import ERROR, Ledger
from edge_agent.local.figures import Figures
from edge_agent.local.view import Zone
from edge_agent.observe.machine import Machine
from edge_agent.observe.service import ServiceSink
from edge_agent.observe.windows import WindowSink
from edge_agent.outputs.channel import Channel
from edge_agent.outputs.channels import Site, channels
from edge_agent.outputs.jsonl import JsonlSink
from edge_agent.outputs.line import LineSink
from edge_agent.pipeline import OnCamera, Pipeline, PipelineLimits
from edge_agent.results import Sink
from edge_agent.store import Store
from edge_agent.track.stage import TrackingStage
from edge_agent.update.probation import SlotHealth
from edge_agent.update.shadowing import Shadowing
from edge_agent.update.slot import Slot
from protocol.messages import Desired, HarvestPolicy


@dataclass(frozen=True)
class Hearers:
    """Who is told what the seeing half finds; called by its threads."""

    window: Callable[[WindowEmitted], None]
    sample: Callable[[HarvestedSample], None]
    camera: OnCamera


@dataclass(frozen=True)
class Seeing:
    """Everything between the cameras and the agent's inbox."""

    config: AgentConfig
    slots: dict[str, Slot]
    pipeline: Pipeline
    ledger: Ledger
    windows: WindowSink
    harvest: HarvestSink
    line: LineSink
    figures: Figures
    service: ServiceSink
    shadowing: Shadowing
    channels: Mapping[str, Channel]
    cameras: tuple[CameraSpec, ...]

    def start(self) -> None:
        """Open the ways out, then the cameras."""
        for channel in self.channels.values():
            channel.start()
        self.pipeline.start()

    def stop(self) -> None:
        """Close the cameras; what was seen until then still goes to the line."""
        self.pipeline.stop()
        timeout_s = self.config.limits.stop_s / 3
        for channel in self.channels.values():
            channel.stop(timeout_s)
        for channel in self.channels.values():
            channel.close(timeout_s)

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

    def options(self, slot: str) -> LoadOptions:
        """How the slot's bundles are loaded for the cameras that feed it."""
        limits = self.config.limits
        live = [c.is_live for c in self.cameras if c.slot == slot]
        return LoadOptions(
            threads=limits.inference_threads_max,
            streams=streams_for(live, limits.inference_streams_max),
        )

    def channel_counters(self) -> dict[str, dict[str, int]]:
        """Signals by what became of them, by channel."""
        return {name: channel.counters() for name, channel in self.channels.items()}

    def channel_problems(self) -> dict[str, str]:
        """Why a channel's other end is not reached, of those where it is not."""
        problems = ((name, channel.problem()) for name, channel in self.channels.items())
        return {name: problem for name, problem in problems if problem is not None}

    def lost_classes(self) -> dict[str, tuple[str, ...]]:
        """Classes that a rule or shelf names and its cameras' models lack, by its id."""
        lost: dict[str, tuple[str, ...]] = {}
        for notice in self.line.lost_classes():
            known = lost.get(notice.owner, ())
            if notice.class_name not in known:
                lost[notice.owner] = (*known, notice.class_name)
        return lost

    def zones(self, camera: str) -> tuple[Zone, ...]:
        """What rules and shelves watch in a camera's picture."""
        rules = [rule for rule in self.config.rules if rule.watches(camera)]
        shelves = [shelf for shelf in self.config.shelves if shelf.camera == camera]
        return tuple(Zone(w.id, w.zone) for w in (*rules, *shelves) if w.zone is not None)


def build_seeing(
    config: AgentConfig,
    store: Store,
    *,
    clock: Clock,
    rng: Random,
    machine: Machine,
    hearers: Hearers,
) -> Seeing:
    """Put the seeing half together; nothing is opened or started yet.

    Raises:
        EdgeError: a channel's library is not installed.
    """
    cameras = tuple(camera.spec() for camera in config.cameras)
    slots = {name: Slot(name) for name in config.slots}
    ledger = Ledger([c.id for c in cameras], {c.id: slots[c.slot] for c in cameras})
    defaults = Desired(device_id=config.device.id, generation=1)
    windows = WindowSink(
        defaults.telemetry_window_s,
        ledger,
        lambda *window: hearers.window(WindowEmitted(*window)),
        machine.read,
    )
    harvest = HarvestSink(HarvestPolicy(), rng, hearers.sample)
    figures, service = Figures(), ServiceSink()
    shadowing = Shadowing(config.limits.shadow_rate_share_min, rng, harvest.disagreed)
    ways_out = channels(config.channels, _site(config, store, clock, figures), rng)
    line = LineSink(config.rules, config.shelves, ways_out.values(), clock)
    # The line first: a reject gate must not wait for what only counts.
    sinks: list[Sink] = [line, service, shadowing, windows, harvest, figures]
    ways = config.outputs
    if ways.jsonl is not None:
        sinks.append(JsonlSink(ways.jsonl, ways.rotate_bytes, unserved=ways.jsonl_unserved))
    tracked = [camera.id for camera in cameras if camera.track]
    pipeline = Pipeline(
        cameras,
        slots,
        sinks,
        ledger=ledger,
        clock=clock,
        rng=rng,
        limits=_limits(config),
        on_camera=hearers.camera,
        stage=TrackingStage(tracked, config.tracking) if tracked else None,
    )
    return Seeing(
        config=config,
        slots=slots,
        pipeline=pipeline,
        ledger=ledger,
        windows=windows,
        harvest=harvest,
        line=line,
        figures=figures,
        service=service,
        shadowing=shadowing,
        channels=ways_out,
        cameras=cameras,
    )


def _site(config: AgentConfig, store: Store, clock: Clock, figures: Figures) -> Site:
    cameras = {
        rule.id: tuple(c.id for c in config.cameras if rule.watches(c.id)) for rule in config.rules
    }

    def silent(rule: str, after_s: float) -> bool:
        now_s = clock.monotonic()
        return any(figures.silent_s(c, now_s) >= after_s for c in cameras.get(rule, ()))

    def watched(channel: str) -> tuple[tuple[str, str], ...]:
        rules = [rule for rule in config.rules if channel in rule.channels]
        return tuple((rule.id, camera) for rule in rules for camera in cameras[rule.id])

    return Site(config.device.id, store, clock, silent, watched)


def _limits(config: AgentConfig) -> PipelineLimits:
    return PipelineLimits(
        buffer_frames=config.limits.buffer_frames_max,
        streams_max=config.limits.inference_streams_max,
        gather_ms=config.limits.gather_ms,
        stop_timeout_s=config.limits.stop_s / 3,
        capture=config.capture.limits(),
    )
