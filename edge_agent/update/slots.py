"""All slots of the device and their updates, moved by what the agent's thread hears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import structlog

from edge_agent.config import Limits
from edge_agent.report import slot_reported
from edge_agent.store import Store
from edge_agent.update.boot import Trouble
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.by_hand import ReturnEnded
from edge_agent.update.fetch import ChunkRead
from edge_agent.update.floors import FLOORS, Floors, learned
from edge_agent.update.judging import Judging
from edge_agent.update.maintenance import zone_of
from edge_agent.update.making_way import MakingWay, leavable
from edge_agent.update.offline import alone, given_up
from edge_agent.update.repair import Repair, RepairContext
from edge_agent.update.requests import Request, answer, refusal, take
from edge_agent.update.retention import Needs, needs
from edge_agent.update.slot import Slot
from edge_agent.update.slot_state import slot_state
from edge_agent.update.states import FETCHING, Committed, UpdateRecord, attempt_key, committed_name
from edge_agent.update.step_parts import StepEnded
from edge_agent.update.unfed import Unfed
from edge_agent.update.unit import Shared, SlotPorts, Unit, build_unit
from edge_agent.update.updater import Leave
from edge_agent.update.veto import Vetoes, granted_words
from edge_agent.update.waiting import ready
from protocol.messages import Desired, ExecutionReport, SlotReported
from protocol.states import ExecutionState

__all__ = ["SlotPorts", "Slots"]

REQUESTS_EVERY_S = 0.5
BLIND_EVERY_S = 30.0
"""How often a slot that serves nothing is looked at where the disk says nothing new."""

log = structlog.get_logger(__name__)


class Slots:
    """One updater and its steps per slot. Used by the agent's thread."""

    def __init__(
        self, slots: Mapping[str, Slot], store: Store, limits: Limits, ports: SlotPorts
    ) -> None:
        self._store, self._limits, self._ports = store, limits, ports
        self._bundles = BundleStore(store.bundles, store.compiled)
        self._floors = store.load(FLOORS, Floors) or Floors()
        self._floors_kept = True
        self.counters: Counter[str] = Counter()
        self._vetoes = Vetoes(slots, store, limits, ports.wall())
        judging = Judging(
            self._bundles,
            limits,
            ports.capabilities,
            lambda: self._floors.by_model(),  # noqa: PLW0108 - it is another object later
            ports.wall,
        )
        shared = Shared(
            store=store,
            limits=limits,
            judging=judging,
            ports=ports,
            counters=self.counters,
            needs=self._needs,
            prune=self._prune,
            damaged=lambda digest: self._repair.found(digest),  # noqa: PLW0108 - made below
            veto_until=self._veto_until,
        )
        self._units: dict[str, Unit] = {
            name: build_unit(slot, shared) for name, slot in slots.items()
        }
        self._repair = Repair(
            RepairContext(
                store=store,
                bundles=self._bundles,
                transport=ports.transport,
                limits=limits,
                submit=ports.submit,
                needs=self._needs,
                alert=ports.alert,
                counters=self.counters,
            )
        )
        self._unfed = Unfed(self._units, ports.tell)
        self._making_way = MakingWay(judging, ports.alert)
        self._returns: dict[str, Request] = {}
        self._asked_at = float("-inf")
        self._stable_at: dict[str, float] = {}
        self._blind: dict[str, tuple[tuple[str, ...], float]] = {}
        self._loaded = False

    def serve_from_disk(self, now: float, wall: float) -> list[Trouble]:
        """Turn back what a restart interrupted, and load what each slot serves now.

        What was wrong on the way is returned.
        """
        troubles: list[Trouble] = []
        for unit in self._units.values():
            unit.back.carry()
            unit.boot.guard.charge(unit.updater.record)
            unit.updater.wake(now, wall)
            loaded, found = unit.boot.load()
            unit.exchange.replace(loaded)
            self._commit_again(unit)
            troubles += found
        self._loaded = True
        return troubles

    def _commit_again(self, unit: Unit) -> None:
        """Where the file of what is committed cannot be read, and what serves is what succeeded
        last, write it anew: nothing else would, as the hub wants nothing else."""
        record, running = unit.updater.record, unit.exchange.running
        if record is None or record.state is not ExecutionState.SUCCEEDED:
            return
        if record.desired.bundle_digest != running:
            return
        try:
            if self._store.load(committed_name(unit.slot.name), Committed) is None:
                unit.exchange.commit(record.desired.bundle_digest, record.previous_digest)
        except OSError as error:
            log.warning("not_committed_again", slot=unit.slot.name, error=str(error))

    def resume(self, now: float, wall: float) -> None:
        """Go on with the attempts, and look after what lies on the disk."""
        self._stable_at = dict.fromkeys(self._units, now + self._limits.boot_stable_s)
        self._store.drop_partials(tuple(self._units))
        for unit in self._units.values():
            unit.updater.resume(now, wall)
        self._prune()
        self._repair.check(self._needs().pinned)

    def desire(self, desired: Desired, now: float, wall: float) -> None:
        """Bring every slot to what is desired of it."""
        floors = learned(self._floors, desired)
        if floors is not self._floors:
            self._floors, self._floors_kept = floors, False
            self._keep_floors()
        for name, unit in self._units.items():
            unit.updater.desire(desired.slots.get(name), now, wall)
        self._unfed.desire(desired)

    def take_chunk(self, chunk: ChunkRead, now: float, wall: float) -> None:
        self._repair.take_chunk(chunk.sha256, chunk.index, chunk.data, now)
        for unit in self._units.values():
            outcome = unit.steps.take_chunk(chunk, now)
            if outcome is not None:
                unit.updater.end(outcome, now, wall)

    def step_ended(self, ended: StepEnded, now: float, wall: float) -> None:
        unit = self._units[ended.slot]
        outcome = unit.steps.ended(ended)
        if outcome is not None:
            unit.updater.end(outcome, now, wall)

    def return_ended(self, ended: ReturnEnded) -> None:
        """The bundle that takes over is loaded, or cannot be."""
        unit = self._units[ended.slot]
        asked = not unit.back.by_itself
        ok, text = unit.back.ended(ended, clear=leavable(unit.updater.record))
        self._ports.changed()  # the hub may be about to record what serves
        if asked:
            self._answer(self._returns.pop(ended.slot, None), ok, text)

    def link_restored(self) -> None:
        self._repair.link_restored()
        for unit in self._units.values():
            unit.steps.link_restored()

    def tick(self, now: float, wall: float) -> None:
        if not self._floors_kept:
            self._keep_floors()
        self._unfed.tick()
        for unit in self._units.values():
            unit.back.carry()
        if now - self._asked_at >= REQUESTS_EVERY_S:
            self._asked_at = now
            for request in take(self._store, tuple(self._units), wall):
                self._carry_out(request, wall)
        for name in tuple(self._returns):
            self._go_back(name, now, wall)
        self._vetoes.tick(now, wall, self._vetoed_attempts(wall))
        for unit in self._units.values():
            unit.updater.tick(now, wall)
        self._mend(now)
        for name, unit in self._units.items():
            self._making_way.look(name, unit, now)
        for name in [slot for slot, at in self._stable_at.items() if now >= at]:
            if self._answers(name):
                del self._stable_at[name]
                self._lived(name)
        self._see_again(now)

    def stop(self, now: float, *, asked: bool = False) -> None:
        """Drop what runs beside; the attempts themselves stay as they are on the disk.

        `asked`: the agent ends because somebody wants it to. Then a slot that answered its
        frames, if there were any, was not what ended it.
        """
        self._repair.stop()
        for name, unit in self._units.items():
            unit.updater.rest(now)
            if asked:
                unit.updater.forgive(now)
            unit.steps.cancel()
            if asked and self._answers(name):
                unit.boot.guard.asked_to_stop()

    def reported(self) -> dict[str, SlotReported]:
        wall = self._ports.wall()
        return {
            name: slot_reported(
                unit.slot.current(),
                self._execution(name),
                engine=unit.deriving.engine(unit.exchange.running),
                veto_until=self._vetoes.until(name, self._attempt(name), wall),
                by_hand=self._by_hand(name),
            )
            for name, unit in self._units.items()
        }

    # ---- what people at the device ask -------------------------------------------------

    def _carry_out(self, request: Request, wall: float) -> None:
        slot = request.slot
        if request.kind == "rollback":
            self._answer(self._returns.pop(slot, None), False, "somebody asked again")
            self._returns[slot] = request
        elif request.kind == "hold":
            granted_s = self._vetoes.hold(slot, self._attempt(slot), request.for_s, wall)
            record = self._open(slot)
            zone = zone_of(None if record is None else record.desired)
            ok, text = granted_words(slot, request.for_s, granted_s, wall, self._limits, zone=zone)
            if granted_s < request.for_s:
                self._ports.alert("veto_cut", text)
            self._answer(request, ok, text)
            self._ports.changed()
        else:
            self._vetoes.release(slot)
            self._answer(request, True, f"{slot}: nothing is held")
            self._ports.changed()

    def _go_back(self, name: str, now: float, wall: float) -> None:
        unit = self._units[name]
        if unit.back.under_way:
            return
        request = self._returns[name]
        if self._open(name) is None:
            ok, text = unit.back.keep()
            if text:
                self._answer(self._returns.pop(name), ok, text)
                self._ports.changed()
                return
            # What cannot be comes first: on the rest a person may insist.
            reason = unit.back.refusal()
            if reason := reason or ("" if request.force else unit.back.objection()):
                self._answer(self._returns.pop(name), False, reason)
            else:
                unit.back.begin()
            return
        leave = unit.updater.leave_by_hand(now, wall)
        if leave is Leave.ALONE:
            reason = unit.back.refused(alone(unit.updater.record))
            self._answer(self._returns.pop(name), False, reason)
        elif leave is Leave.GOES_BACK:
            self._answer(self._returns.pop(name), True, "the candidate in probation goes back")
        elif leave is Leave.GIVEN_UP:
            told = given_up(name, unit.updater.record)
            if unit.boot.is_committed(unit.updater.record):  # it was to come back by this attempt
                told = unit.back.keep()[1] or told
            self._answer(self._returns.pop(name), True, told)
        elif late := refusal(request, tuple(self._units), wall):
            self._answer(self._returns.pop(name), False, f"an update is in the way; {late}")

    def _answer(self, request: Request | None, ok: bool, text: str) -> None:
        if request is not None:
            answer(self._store, request, ok=ok, text=text)

    # ---- what is looked after ----------------------------------------------------------

    def _keep_floors(self) -> None:
        """The floors count at once; a disk that refuses them gets them at the next tick."""
        try:
            self._store.save(FLOORS, self._floors)
        except OSError as error:
            log.debug("floors_not_persisted", error=str(error))
            return
        self._floors_kept = True

    def _mend(self, now: float) -> None:
        """Go on with repairs; a disk that refuses one must not end what serves."""
        try:
            records = (self._open(name) for name in self._units)
            busy = any(record is not None and record.state in FETCHING for record in records)
            self._repair.tick(now, busy=busy)
        except OSError as error:
            log.warning("repair_failed", error=str(error))

    def _answers(self, name: str) -> bool:
        """Whether a slot has answered a frame since the start, if there was any; a blind one has
        nothing that could end the agent."""
        seen = self._ports.health(name)
        blind = self._units[name].exchange.running is None
        return blind or bool(seen.inferred) or not seen.captured

    def _lived(self, name: str) -> None:
        """The agent has lived long enough with what it loaded for a slot. What was passed over
        because it had ended it too often is tried again, where nothing else serves."""
        unit = self._units[name]
        unit.boot.guard.stable()
        unit.updater.forgive(self._ports.monotonic())
        if unit.boot.passed_over and unit.exchange.running is None:
            self._serve_again(name)

    def _see_again(self, now: float) -> None:
        """Where nothing serves, whatever can by now, however it came to lie there whole: its
        files were repaired, or an attempt that is far from its end has placed it."""
        for name, unit in self._units.items():
            if unit.exchange.running is not None:
                self._blind.pop(name, None)
                continue
            able = unit.boot.able()
            before, again_at = self._blind.get(name, ((), now))
            if able and (able != before or now >= again_at):
                again_at = now + BLIND_EVERY_S
                self._serve_again(name)
            self._blind[name] = (able, again_at)

    def _serve_again(self, name: str) -> None:
        unit = self._units[name]
        loaded, _ = unit.boot.load()
        if loaded is not None:  # else nothing new is there that could end the agent
            unit.exchange.replace(loaded)
            self._stable_at[name] = self._ports.monotonic() + self._limits.boot_stable_s

    def _needs(self) -> Needs:
        """What the disk refers to, and what serves: a start may have taken something else."""
        running = (unit.exchange.running for unit in self._units.values())
        states = [slot_state(name, self._store) for name in self._units]
        return needs(states, [digest for digest in running if digest is not None])

    def _prune(self) -> None:
        if not self._loaded:
            return  # what this start may need as a last resort is not known yet
        try:
            self._bundles.prune(self._needs(), self._limits.bundles_kept_max)
        except OSError as error:
            log.warning("not_pruned", error=str(error))

    def _open(self, name: str) -> UpdateRecord | None:
        record = self._units[name].updater.record
        return None if record is None or record.terminal else record

    def _by_hand(self, name: str) -> bool:
        """Whether a person went back to what serves; a start may have taken something else."""
        committed = self._store.load(committed_name(name), Committed)
        running = self._units[name].exchange.running
        return committed is not None and committed.by_hand and committed.digest == running

    def _attempt(self, name: str) -> str:
        record = self._open(name)
        return "" if record is None else attempt_key(record.desired)

    def _vetoed_attempts(self, wall: float) -> dict[str, str]:
        """The attempts that nothing but a veto, if there is one, holds back now, by slot."""
        found = {name: self._open(name) for name in self._units}
        return {
            name: attempt_key(record.desired)
            for name, record in found.items()
            if record is not None and self._vetoes.holds(name, "") and ready(record, wall)
        }

    def _veto_until(self, slot: str, record: UpdateRecord, wall: float) -> float | None:
        return self._vetoes.until(slot, attempt_key(record.desired), wall)

    def _execution(self, name: str) -> ExecutionReport | None:
        record = self._units[name].updater.record
        return None if record is None else record.report()
