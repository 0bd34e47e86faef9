"""The hub of the simulation: rows of attempts, what is desired of devices, and the planner's
actions carried out as the engine does, each checked against what it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    Abort,
    Action,
    AskPerson,
    DeviceView,
    EndExecution,
    Finish,
    GateView,
    LookAtGate,
    MarkDiverged,
    NextWave,
    NoWayBack,
    Pause,
    Release,
    RolloutView,
    StartExecution,
    Stop,
)
from cloud.rollouts.states import (
    HUB_EXECUTION_TABLE,
    ROLLOUT_TABLE,
    Outcome,
    RolloutEvent,
    RolloutState,
    receive,
)
from protocol.builds import Capabilities
from protocol.machine import advance
from protocol.messages import MaintenanceWindow
from protocol.states import (
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
    Verdict,
)
from tests.simulation.rollouts.devices import ROLLOUT, Edge, Message, Slot

NEWER, PIN, BY_HAND = "a newer rollout", "a pin", "a person"
STARTED_AT = 1_000_000.0
Judge = Callable[["Hub", int], Verdict]


@dataclass(slots=True)
class Row:
    """One device's attempt."""

    device_id: str
    wave: int
    attempt: int
    state: ExecutionState = ExecutionState.QUEUED
    started_at: float | None = None
    step_at: float = 0.0
    ended_at: float | None = None
    ended_by_device_at: float | None = None
    digest: str | None = None
    held: bool = False
    released: bool = False
    acknowledged: bool = False
    diverged: bool = False
    by_hand_marked: bool = False
    asks: bool = False
    reverts: bool = False
    before: Slot | None = None

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_EXECUTION_STATES


@dataclass(frozen=True, slots=True)
class Began:
    """A start, for the rules on pace and order."""

    at: float
    device_id: str
    attempt: int
    reverts: bool


@dataclass(slots=True)
class Hub:
    """`rows` holds every attempt of a device, the latest last; times are in seconds.

    Attributes:
        capabilities, sites: of devices, by id.
        barred: why nobody goes back to the build of before; "" where they may.
        verdicts: of each wave the last one, and whether a person has answered it.
        touched: devices of which the view is to be made anew.
        log: what happened, and when; `moves`: how often a device's word moved an attempt.
    """

    rollout: RolloutView
    edges: Mapping[str, Edge]
    capabilities: Mapping[str, Capabilities | None]
    sites: Mapping[str, str | None]
    judge: Judge
    window: MaintenanceWindow | None = None
    shadow: bool = False
    now: float = STARTED_AT
    rows: dict[str, list[Row]] = field(default_factory=dict)
    slots: dict[str, Slot | None] = field(default_factory=dict)
    running: dict[str, Message] = field(default_factory=dict)
    newer: set[str] = field(default_factory=set)
    pinned: dict[str, Slot | None] = field(default_factory=dict)
    barred: str = ""
    outcome: Outcome | None = None
    stopped: Stop | None = None
    verdicts: dict[int, GateView] = field(default_factory=dict)
    began: list[Began] = field(default_factory=list)
    log: list[tuple[float, object]] = field(default_factory=list)
    moves: int = 0
    woken: list[str] = field(default_factory=list)
    _views: dict[str, DeviceView] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    def views(self) -> list[DeviceView]:
        """What the planner sees; only of devices that changed it is made anew."""
        for device_id in sorted(self.touched & self.rows.keys()):
            self._views[device_id] = self._view(device_id)
        self.touched.clear()
        return list(self._views.values())

    def latest(self, device_id: str) -> Row:
        return self.rows[device_id][-1]

    def add(self, device_id: str, wave: int) -> None:
        """A device of the rollout that has not started."""
        self.rows[device_id] = [Row(device_id, wave, 1, step_at=self.now)]
        self.touched.add(device_id)

    def _view(self, device_id: str) -> DeviceView:
        row, edge, slot = self.latest(device_id), self.edges[device_id], self.slots[device_id]
        said = self.running.get(device_id)
        told = said is not None and (row.ended_by_device_at or self.now) < said.made_at
        succeeded = row.state is ExecutionState.SUCCEEDED
        back = row.before if row.before and not self.barred else None
        return DeviceView(
            device_id=device_id,
            wave=row.wave,
            attempt=row.attempt,
            state=row.state,
            started_at=row.started_at,
            step_at=row.step_at,
            ended_at=row.ended_at,
            digest=row.digest,
            owned=slot is not None and slot.owner == ROLLOUT,
            newer=device_id in self.newer,
            pinned=device_id in self.pinned,
            acknowledged=row.acknowledged,
            diverged=row.diverged,
            running_digest=said.running if said and told and succeeded else None,
            capabilities=self.capabilities[device_id],
            site=self.sites[device_id],
            held=row.held and not row.released,
            released=row.released,
            vetoed=edge.is_vetoed(self.now),
            window=slot.window if slot is not None and row.held else None,
            online=edge.is_online(self.now),
            heard_at=said.made_at if said else None,
            inconclusive=row.asks,
            by_hand=succeeded and said is not None and said.by_hand,
            by_hand_marked=row.by_hand_marked,
            reverts=row.reverts,
            return_digest=back.digest if back else None,
            no_return=self.barred or ("" if row.before else "nothing was before"),
        )

    def plan(self) -> list[Action]:
        return plan(self.rollout, self.views(), self.now)

    def receive(self, message: Message) -> None:
        """Take a device's word; late, repeated and lost ones change nothing."""
        device_id = message.device_id
        self.touched.add(device_id)
        known = self.running.get(device_id)
        if known is None or known.made_at < message.made_at:
            self.running[device_id] = message
        rows = self.rows.get(device_id)
        if message.state is None or rows is None or not 0 < message.attempt <= len(rows):
            return
        row = rows[message.attempt - 1]
        if row.started_at is None or row.digest != message.digest:
            return
        state = receive(row.state, message.state)
        row.asks |= message.asks and state is ExecutionState.SHADOWING
        if state is row.state:
            return
        assert not row.ended, f"{device_id} has ended in {row.state} and moved to {state}"
        row.state, row.step_at = state, self.now
        self.moves += 1
        self.say((device_id, row.attempt, state.value))
        if row.ended:
            row.ended_at, row.ended_by_device_at = self.now, message.made_at
            if state not in (ExecutionState.SUCCEEDED, ExecutionState.CANCELED):
                self._withdraw(row)

    def act(self, action: Action) -> None:
        """Carry out one action; a second time, and one that came too late, changes nothing."""
        match action:
            case StartExecution():
                self._start(action)
            case NoWayBack():
                self._keep_build(action)
            case EndExecution():
                self._end(action)
            case Release(device_ids=device_ids):
                for device_id in device_ids:
                    self._release(device_id)
            case MarkDiverged():
                row = self.rows[action.device_id][action.attempt - 1]
                row.diverged, row.by_hand_marked = True, action.by_hand
                row.step_at = self.now
                self.touched.add(action.device_id)
            case LookAtGate(wave=wave, settled=settled):
                self._look(wave, settled)
            case _:
                self._move_rollout(action)

    def _move_rollout(self, action: Action) -> None:
        running = self.rollout.state is RolloutState.RUNNING
        match action:
            case NextWave(wave=wave) if wave > self.rollout.wave:
                self.rollout = replace(self.rollout, wave=wave, asks=None, gate=None)
            case AskPerson(asks=asks):
                self.rollout = replace(self.rollout, asks=asks)
            case Pause() if running:
                self.move(RolloutEvent.PAUSED)
            case Abort(reason=reason, revert=revert) if running:
                self.abort(reason, revert=revert)
            case Finish(outcome=outcome) if self.outcome is None:
                self.outcome = outcome
                self.move(RolloutEvent.COMPLETED)
            case Stop() if self.stopped is None:
                self.stopped = action
                self.move(RolloutEvent.EMPTIED)

    def abort(self, reason: str, *, revert: bool) -> None:
        self.rollout = replace(self.rollout, reverting=revert, stopped_by=reason, asks=None)
        self.move(RolloutEvent.CANCEL_REQUESTED)

    def move(self, event: RolloutEvent) -> None:
        state = advance(ROLLOUT_TABLE, self.rollout.state, event)
        self.rollout = replace(self.rollout, state=state)

    def _look(self, wave: int, settled: bool) -> None:
        last = self.verdicts.get(wave)
        settled_at = last.settled_at if last else None
        if settled and settled_at is None:
            settled_at = self.now
        verdict = self.judge(self, wave)
        answered = last.answered if last else False
        gate = GateView(wave, verdict, self.now, settled_at, answered, "as the world has it")
        self.set_gate(gate)

    def set_gate(self, gate: GateView) -> None:
        self.verdicts[gate.wave] = gate
        self.rollout = replace(self.rollout, gate=gate)

    def _start(self, action: StartExecution) -> None:
        rows = self.rows[action.device_id]
        last = rows[-1]
        if action.attempt == last.attempt + 1 and last.ended:
            fresh = Row(last.device_id, last.wave, action.attempt, before=last.before)
            rows.append(fresh)
        row = rows[-1]
        if row.attempt != action.attempt or row.started_at is not None or row.ended:
            return
        if row.attempt == 1:
            row.before = self.slots[row.device_id]
        row.digest, row.started_at, row.step_at = action.digest, self.now, self.now
        row.held, row.reverts = action.hold, action.reverts
        self.began.append(Began(self.now, row.device_id, row.attempt, row.reverts))
        slot = Slot(
            action.digest, ROLLOUT, row.attempt, action.hold,
            shadow=self.shadow and not row.reverts,
            window=None if row.reverts else self.window,
        )  # fmt: skip
        self.tell(row.device_id, slot)

    def _keep_build(self, action: NoWayBack) -> None:
        rows = self.rows[action.device_id]
        last = rows[-1]
        if action.attempt == last.attempt + 1 and last.ended:
            fresh = Row(last.device_id, last.wave, action.attempt, before=last.before)
            fresh.state, fresh.reverts = ExecutionState.CANCELED, True
            fresh.step_at = fresh.ended_at = self.now
            rows.append(fresh)
            self.touched.add(action.device_id)

    def _end(self, action: EndExecution) -> None:
        row = self.rows[action.device_id][action.attempt - 1]
        if row.ended:
            return
        row.state = advance(HUB_EXECUTION_TABLE, row.state, action.event)
        row.step_at = row.ended_at = self.now
        self.touched.add(row.device_id)
        # Its site has exchanged: one that was lost after the word follows when it comes back.
        if not row.released or action.event is not ExecutionEvent.TIMER_EXPIRED:
            self._withdraw(row)

    def _withdraw(self, row: Row) -> None:
        slot = self.slots[row.device_id]
        if slot is not None and slot.owner == ROLLOUT:
            back = row.before if row.before and not self.barred else None
            self.tell(row.device_id, replace(back, hold=False) if back else None)

    def _release(self, device_id: str) -> None:
        row, slot = self.latest(device_id), self.slots[device_id]
        waits = row.state is ExecutionState.PREPARED and row.held and not row.released
        if waits and slot is not None and slot.owner == ROLLOUT:
            row.released = True
            self.tell(device_id, replace(slot, hold=False))

    def tell(self, device_id: str, slot: Slot | None) -> None:
        """Desire this of a device, and let it know."""
        self.slots[device_id] = slot
        self.touched.add(device_id)
        self.woken.append(device_id)

    def answer(self, *, wave: int | None = None) -> None:
        """A person has answered: opens `wave`, or lets the open wave's gate pass."""
        if wave is not None:
            opened = self.rollout.approved_waves | {wave}
            self.rollout = replace(self.rollout, approved_waves=opened)
        elif (gate := self.verdicts.get(self.rollout.wave)) is not None:
            self.set_gate(replace(gate, answered=True))
        self.rollout = replace(self.rollout, asks=None)

    def resume(self) -> None:
        """A person acknowledges what has failed, and goes on."""
        for device_id in self.rows:
            row = self.latest(device_id)
            if row.ended and not row.acknowledged:
                row.acknowledged = row.diverged or row.state is not ExecutionState.SUCCEEDED
                self.touched.add(device_id)
        self.move(RolloutEvent.RESUMED)

    def say(self, what: object) -> None:
        self.log.append((self.now, what))


def asked_wave(rollout: RolloutView) -> int:
    """The wave that a person is asked to open."""
    waves = rollout.policy.waves
    own = waves[rollout.wave].needs_approval and rollout.wave not in rollout.approved_waves
    return rollout.wave if own else rollout.wave + 1
