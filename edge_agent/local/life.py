"""The agent's look at itself: once a second, on its own thread, for pages and systemd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.ledger import ERROR, Ledger
from edge_agent.local.figures import Figures
from edge_agent.local.holding import ask, parse
from edge_agent.local.liveness import Liveness, SlotProgress
from edge_agent.local.server import LocalServer
from edge_agent.local.settings import LocalSection
from edge_agent.local.systemd import Service
from edge_agent.local.view import Counters, View, Zone
from edge_agent.observe.machine import Machine
from edge_agent.pipeline import Pipeline
from edge_agent.store import Store
from edge_agent.update.account import slot_account
from edge_agent.update.slot import Slot
from edge_agent.version import agent_version
from protocol.states import CameraState

LOOK_EVERY_S = 1.0
STATUS_EVERY_S = 10.0
STUCK_AFTER_S = 30.0
LOOP = "the agent's loop"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Seen:
    """The parts of the seeing half that are looked at."""

    pipeline: Pipeline
    ledger: Ledger
    slots: Mapping[str, Slot]
    cameras: tuple[CameraSpec, ...]
    figures: Figures


@dataclass(frozen=True)
class Told:
    """What the rest of the agent tells of itself, as `View` has it.

    `link_up`, `problems` and `zones` are called by any thread, the others by the agent's alone.
    """

    counters: Callable[[], Counters]
    link_up: Callable[[], bool]
    channels: Callable[[], Mapping[str, Counters]] = dict
    problems: Callable[[], Mapping[str, str]] = dict
    lost_classes: Callable[[], Mapping[str, tuple[str, ...]]] = dict
    zones: Callable[[str], tuple[Zone, ...]] = lambda _camera: ()


class Life:
    """Pages, watchdog and status of one agent.

    The watchdog is put off only while the loop that calls `tick` turns and every slot that
    has frames answers them; a camera that is offline changes nothing.
    """

    def __init__(
        self,
        device: str,
        data_dir: Path,
        settings: LocalSection,
        service: Service,
        *,
        seen: Seen,
        machine: Machine,
        clock: Clock,
        told: Told,
    ) -> None:
        self._service, self._seen, self._clock, self._told = service, seen, clock, told
        self._machine = machine
        patience_s = STUCK_AFTER_S if service.watchdog_s is None else service.watchdog_s / 2
        self._liveness = Liveness(patience_s)
        self._looked_s = clock.monotonic()
        self._told_s = float("-inf")
        self._stuck: tuple[str, ...] = ()
        self._counters: Counters = {}
        self._channels: Mapping[str, Counters] = {}
        self._lost: Mapping[str, tuple[str, ...]] = {}
        store = Store(data_dir)
        self._server = LocalServer(
            settings,
            data_dir,
            View(
                device=device,
                version=agent_version(),
                cameras=seen.pipeline.camera_reports,
                account=seen.ledger.account,
                figures=lambda camera: seen.figures.of(camera, clock.monotonic()),
                slots=lambda: {name: slot.current() for name, slot in seen.slots.items()},
                latest=seen.pipeline.latest,
                errors=seen.pipeline.errors,
                counters=lambda: self._counters,
                health=lambda: machine.health(data_dir),
                stuck=self._unwell,
                link_up=told.link_up,
                channels=lambda: self._channels,
                problems=told.problems,
                lost_classes=lambda: self._lost,
                zones=told.zones,
                updates=lambda: {
                    name: slot_account(store, name, clock.wall()) for name in seen.slots
                },
                hold=lambda query: ask(data_dir, parse(query, clock.wall())),
            ),
        )

    def start(self) -> None:
        """Serving has begun: open the pages and tell the service manager."""
        self._server.start()
        self._look(self._clock.monotonic())
        self._service.ready()

    def tick(self, now: float) -> None:
        """Take a look where one is due. Raises StuckError where inference hangs for too long."""
        if now - self._looked_s >= LOOK_EVERY_S:
            self._look(now)
            self._liveness.give_up(now)

    def stop(self, timeout_s: float) -> None:
        self._service.stopping()
        self._server.stop(timeout_s)

    def _look(self, now: float) -> None:
        self._looked_s = now
        self._machine.read()  # so that whoever looks at the pages finds the last second's
        self._counters, self._channels = self._told.counters(), self._told.channels()
        self._lost = self._told.lost_classes()
        stuck = self._liveness.stuck(self._progress(), now)
        changed, self._stuck = stuck != self._stuck, stuck
        if stuck and changed:
            log.error("inference_stuck", slots=stuck)
        if not stuck:
            self._service.alive()
        if changed or now - self._told_s >= STATUS_EVERY_S:
            self._told_s = now
            self._service.status(self._words(now))

    def _progress(self) -> dict[str, SlotProgress]:
        ledger = self._seen.ledger
        found: dict[str, SlotProgress] = {}
        for name, slot in self._seen.slots.items():
            accounts = [ledger.account(c.id) for c in self._seen.cameras if c.slot == name]
            found[name] = SlotProgress(
                serves=slot.current() is not None,
                waiting=sum(a.in_flight for a in accounts),
                answered=sum(a.inferred + a.dropped.get(ERROR, 0) for a in accounts),
            )
        return found

    def _unwell(self) -> tuple[str, ...]:
        """Stuck slots, and the loop itself where it has not looked for too long."""
        silent_s = self._clock.monotonic() - self._looked_s
        return (*self._stuck, LOOP) if silent_s >= self._liveness.stuck_after_s else self._stuck

    def _words(self, now: float) -> str:
        cameras = self._seen.pipeline.camera_reports()
        streaming = sum(c.state is CameraState.STREAMING for c in cameras.values())
        rate = sum(self._seen.figures.of(c, now).results_per_s or 0.0 for c in cameras)
        words = f"{streaming} of {len(cameras)} cameras stream, {rate:.1f} frames/s"
        return words + (f"; stuck: {', '.join(self._stuck)}" if self._stuck else "")
