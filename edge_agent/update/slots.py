"""All slots of the device and their updates, moved by what the agent's thread hears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.config import Limits
from edge_agent.detect.options import LoadOptions
from edge_agent.report import slot_reported
from edge_agent.store import Store
from edge_agent.update.acquire import Acquire, AcquireContext
from edge_agent.update.boot import load_at_boot, pinned_digests
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.fetch import ChunkRead, Transport
from edge_agent.update.slot import Slot
from edge_agent.update.states import SlotHealth
from edge_agent.update.steps import SlotSteps, StepContext, StepEnded
from edge_agent.update.updater import Updater
from protocol.builds import Capabilities
from protocol.messages import Desired, ExecutionReport, SlotDesired, SlotReported
from protocol.states import ExecutionState


@dataclass(frozen=True)
class SlotPorts:
    """What the updates need of the rest of the agent.

    Attributes:
        submit: run a blocking job on the updates' worker.
        deliver: bring its end to the agent's thread.
        tell: an execution took a step.
        health: frames of a slot's cameras since the start.
        options: how a slot's bundles are loaded.
    """

    transport: Transport
    submit: Callable[[Callable[[], None]], None]
    deliver: Callable[[StepEnded], object]
    tell: Callable[[ExecutionReport], None]
    health: Callable[[str], SlotHealth]
    options: Callable[[str], LoadOptions]
    capabilities: Callable[[], Capabilities]


class Slots:
    """One updater and its steps per slot. Used by the agent's thread."""

    def __init__(
        self, slots: Mapping[str, Slot], store: Store, limits: Limits, ports: SlotPorts
    ) -> None:
        self._slots, self._store, self._limits, self._tell = dict(slots), store, limits, ports.tell
        self._options = {name: ports.options(name) for name in slots}
        self._bundles = BundleStore(store.bundles, store.compiled)
        self.counters: Counter[str] = Counter()
        acquire = AcquireContext(
            store, self._bundles, ports.transport, limits, ports.capabilities, self.counters
        )
        context = StepContext(
            store, self._bundles, limits, ports.submit, ports.deliver, self._prune
        )
        self._steps = {
            name: SlotSteps(
                slot,
                Acquire(name, acquire),
                context,
                _health_of(name, ports.health),
                self._options[name],
            )
            for name, slot in slots.items()
        }
        self._updaters = {
            name: Updater(name, store, steps, limits, ports.tell)
            for name, steps in self._steps.items()
        }
        self._unfed: dict[str, SlotDesired] = {}

    def serve_from_disk(self) -> list[str]:
        """Load what each slot last committed; what was wrong on the way, in words."""
        troubles = []
        for name, slot in self._slots.items():
            loaded, trouble = load_at_boot(name, self._store, self._bundles, self._options[name])
            if loaded is not None:
                slot.exchange(loaded)
            if trouble:
                troubles.append(trouble)
        return troubles

    def resume(self, now: float, wall: float) -> None:
        for updater in self._updaters.values():
            updater.resume(now, wall)
        self._prune()

    def desire(self, desired: Desired, now: float, wall: float) -> None:
        """Bring every slot to what is desired of it."""
        for name, updater in self._updaters.items():
            updater.desire(desired.slots.get(name), now, wall)
        for name, wanted in desired.slots.items():
            if name not in self._updaters and self._unfed.get(name) != wanted:
                self._unfed[name] = wanted
                self._tell(_unfed(name, wanted))

    def take_chunk(self, chunk: ChunkRead, now: float, wall: float) -> None:
        for name, steps in self._steps.items():
            outcome = steps.take_chunk(chunk.sha256, chunk.index, chunk.data, now)
            if outcome is not None:
                self._updaters[name].end(outcome, now, wall)

    def step_ended(self, ended: StepEnded, now: float, wall: float) -> None:
        outcome = self._steps[ended.slot].ended(ended)
        if outcome is not None:
            self._updaters[ended.slot].end(outcome, now, wall)

    def link_restored(self) -> None:
        for steps in self._steps.values():
            steps.link_restored()

    def tick(self, now: float, wall: float) -> None:
        for updater in self._updaters.values():
            updater.tick(now, wall)

    def stop(self) -> None:
        """Drop what runs beside; the attempts themselves stay as they are on the disk."""
        for steps in self._steps.values():
            steps.cancel()

    def reported(self) -> dict[str, SlotReported]:
        return {
            name: slot_reported(slot.current(), self._execution(name))
            for name, slot in self._slots.items()
        }

    def _execution(self, name: str) -> ExecutionReport | None:
        record = self._updaters[name].record
        return None if record is None else record.report()

    def _prune(self) -> None:
        pinned = pinned_digests(tuple(self._slots), self._store)
        self._bundles.prune(pinned, self._limits.bundles_kept_max)


def _health_of(slot: str, health: Callable[[str], SlotHealth]) -> Callable[[], SlotHealth]:
    return lambda: health(slot)


def _unfed(slot: str, wanted: SlotDesired) -> ExecutionReport:
    return ExecutionReport(
        rollout_id=wanted.rollout_id,
        attempt=wanted.attempt,
        slot=slot,
        bundle_digest=wanted.bundle_digest,
        state=ExecutionState.NO_ARTIFACT,
        reason=f"no camera of this device feeds the slot {slot}; give one `slot` = {slot!r}"[:2048],
    )
