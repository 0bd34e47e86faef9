"""What must hold whatever devices, networks and people do: worked out anew, from the rows, and
not as the planner does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cloud.rollouts.planning.views import (
    Action,
    EndExecution,
    Finish,
    NextWave,
    NoWayBack,
    Release,
    StartExecution,
    Stop,
)
from cloud.rollouts.states import FAILURES, UNCOUNTED, RolloutState
from protocol import maintenance
from protocol.states import (
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
    Verdict,
)
from tests.simulation.rollouts.builds import UNABLE
from tests.simulation.rollouts.devices import ROLLOUT, Slot
from tests.simulation.rollouts.hub import Hub, Row

MINUTE_S = 60.0
STARTING = (RolloutState.RUNNING, RolloutState.STOPPING, RolloutState.FINISHED)


@dataclass(slots=True)
class Rules:
    """The invariants of one rollout, and what they remember of it.

    Attributes:
        failed: devices that have failed for good, and that no person has acknowledged.
    """

    hub: Hub
    ended: dict[tuple[str, int], ExecutionState] = field(default_factory=dict)
    began: set[tuple[str, int]] = field(default_factory=set)
    checked: int = 0
    succeeded_most: int = 0
    rate_most: float = 0.0
    failed: int = 0

    def before(self, actions: Sequence[Action]) -> None:
        """Whether the planner may ask for these now."""
        self.failed = sum(self._has_failed(rows[-1]) for rows in self.hub.rows.values())
        for action in actions:
            self._before(action)

    def _before(self, action: Action) -> None:
        match action:
            case StartExecution():
                self._may_start(action)
            case NoWayBack():
                self._may_keep(action)
            case EndExecution(device_id=device_id, attempt=attempt):
                row = self.hub.latest(device_id)
                assert not row.ended
                assert row.attempt == attempt
                canceled = action.event is ExecutionEvent.CANCEL_REQUESTED
                assert not (canceled and row.released), "called back after the word"
            case Release():
                self._may_exchange(action)
            case NextWave(wave=wave):
                self._may_open(wave)
            case Finish():
                assert not self.hub.rollout.policy.continuous
                assert all(rows[-1].ended for rows in self.hub.rows.values())
                self._passed_its_gate()
            case Stop():
                assert all(rows[-1].ended for rows in self.hub.rows.values())

    def after(self) -> None:
        """Whether what is stored is as it may be."""
        flying = succeeded = 0
        for rows in self.hub.rows.values():
            row = rows[-1]
            state = row.state
            if state in TERMINAL_EXECUTION_STATES:
                known = self.ended.setdefault((row.device_id, row.attempt), state)
                assert known is state, f"{row} had ended in {known}"
                succeeded += state is ExecutionState.SUCCEEDED
            elif row.started_at is not None:
                flying += 1
                assert (row.device_id, row.attempt) not in self.ended, f"{row} had ended"
        most = self.hub.rollout.policy.in_flight_max
        assert most is None or flying <= most, f"{flying} in flight"
        self.succeeded_most = max(self.succeeded_most, succeeded)
        self._keeps_pace()

    def exchanged(self, device_id: str, at: float, slot: Slot) -> None:
        """A device has exchanged builds: in its window, and not before its site's word."""
        if slot.owner != ROLLOUT:
            return
        row = self.hub.rows[device_id][slot.attempt - 1]
        if not row.reverts and self.hub.window is not None:
            assert slot.window == self.hub.window
            open_then = maintenance.is_open(slot.window, at)
            assert open_then, f"{device_id} exchanged outside its window"
        assert row.released or not row.held, f"{device_id} exchanged without its site"

    def _may_start(self, action: StartExecution) -> None:
        hub, key = self.hub, (action.device_id, action.attempt)
        row, rollout = hub.latest(action.device_id), hub.rollout
        assert rollout.state in STARTING, f"{key} starts while {rollout.state}"
        assert key not in self.began, f"{key} starts twice"
        assert action.device_id not in hub.pinned
        assert row.attempt + row.ended == action.attempt
        assert row.wave <= rollout.wave
        stopping = rollout.state is RolloutState.STOPPING
        assert action.reverts == stopping
        if stopping:
            slot = hub.slots[action.device_id]
            assert rollout.reverting
            assert row.before is not None
            assert action.digest == row.before.digest
            assert slot is not None
            assert slot.owner == ROLLOUT
            return
        assert action.device_id not in hub.newer
        assert hub.capabilities[action.device_id] is not UNABLE
        self._may_try_again(row)
        if rollout.state is RolloutState.RUNNING:
            assert self.failed <= self._tolerated(), f"{key} starts after too many failures"
            assert self._open_gate_is_no_fail(), f"{key} starts past a FAIL"
            assert self._approved(rollout.wave), f"{key} starts before a person opened its wave"

    def _may_keep(self, action: NoWayBack) -> None:
        hub, row = self.hub, self.hub.latest(action.device_id)
        slot = hub.slots[action.device_id]
        assert hub.rollout.reverting
        assert row.ended
        assert not row.reverts, f"{action.device_id} says twice that it keeps the build"
        assert row.attempt + 1 == action.attempt
        assert action.device_id not in hub.pinned
        assert slot is not None
        assert slot.owner == ROLLOUT
        assert action.reason
        assert hub.barred or row.before is None, f"{action.device_id} could go back"

    def _may_try_again(self, row: Row) -> None:
        policy, diverged = self.hub.rollout.policy, row.diverged
        if not row.ended:
            assert row.started_at is None
            assert self.hub.rollout.state is RolloutState.RUNNING
        elif row.state is ExecutionState.SUCCEEDED:
            said = self.hub.running[row.device_id]
            assert diverged
            assert not said.by_hand, "who went back by hand was overruled"
            assert row.attempt < policy.attempts_max
        else:
            assert self.hub.rollout.state is RolloutState.RUNNING
            assert row.state in policy.retry_kinds
            assert row.attempt <= policy.retries
            assert self.hub.now - (row.ended_at or 0) >= policy.retry_after_s

    def _may_exchange(self, action: Release) -> None:
        hub = self.hub
        names = set(action.device_ids)
        (wave,) = {hub.latest(name).wave for name in names}
        there = [r[-1] for n, r in hub.rows.items() if hub.sites[n] == action.site]
        there = [row for row in there if row.wave == wave and not row.ended]
        waiting = [row for row in there if row.held and not row.released]
        assert hub.rollout.state is RolloutState.RUNNING
        assert {row.device_id for row in waiting} == names
        for row in waiting:
            assert row.state is ExecutionState.PREPARED
            assert hub.edges[row.device_id].is_online(hub.now)
            assert not hub.edges[row.device_id].is_vetoed(hub.now)
        assert hub.window is None or maintenance.is_open(hub.window, hub.now)
        assert self.failed <= self._tolerated()
        most = hub.rollout.policy.in_flight_max
        flying = sum(r[-1].started_at is not None and not r[-1].ended for r in hub.rows.values())
        if most is None or flying < most:
            assert all(row.started_at is not None for row in there), "who has to start is missed"

    def _may_open(self, wave: int) -> None:
        hub, policy = self.hub, self.hub.rollout.policy.waves[wave - 1]
        assert wave == hub.rollout.wave + 1
        there = [rows[-1] for rows in hub.rows.values() if rows[-1].wave == wave - 1]
        good = [row for row in there if self.is_good(row)]
        counted = [row for row in there if row.state not in UNCOUNTED and self._counts(row)]
        assert len(good) * 100 >= policy.success_percent * len(counted)
        assert good or all(row.ended for row in there), "nothing is known of the wave"
        assert all(hub.now - (row.ended_at or 0.0) >= policy.soak_s for row in good)
        assert self.failed <= self._tolerated()
        assert self._approved(wave), "no person has opened the wave"
        self._passed_its_gate()

    def _passed_its_gate(self) -> None:
        hub, rollout = self.hub, self.hub.rollout
        gate = hub.verdicts.get(rollout.wave)
        if gate is not None and gate.answered:
            return
        assert self._open_gate_is_no_fail(), "past a FAIL"
        policy = rollout.policy.waves[rollout.wave]
        there = [r[-1] for r in hub.rows.values() if r[-1].wave == rollout.wave]
        good = [row for row in there if self.is_good(row)]
        if rollout.policy.gate is None or not policy.gated or not good:
            return
        assert gate is not None
        assert gate.verdict is Verdict.PASS
        last = max(row.ended_at or 0.0 for row in good)
        assert (gate.looked_at or 0.0) >= last + policy.soak_s, "a PASS of before it had soaked"

    def _open_gate_is_no_fail(self) -> bool:
        gate = self.hub.verdicts.get(self.hub.rollout.wave)
        return gate is None or gate.answered or gate.verdict is not Verdict.FAIL

    def _approved(self, wave: int) -> bool:
        rollout = self.hub.rollout
        asks = rollout.policy.waves[wave].needs_approval
        return not asks or wave in rollout.approved_waves

    def _tolerated(self) -> float:
        most = self.hub.rollout.policy.failed_max
        return float("inf") if most is None else most

    def _has_failed(self, row: Row) -> bool:
        unanswered = row.asks and row.state is ExecutionState.TIMED_OUT
        counts = row.state in FAILURES and not unanswered and not row.acknowledged
        return counts and not self._is_tried_again(row)

    def _is_tried_again(self, row: Row) -> bool:
        policy = self.hub.rollout.policy
        taken = row.device_id in self.hub.newer or row.device_id in self.hub.pinned
        left = row.attempt <= policy.retries and row.state in policy.retry_kinds
        return left and not taken and not (row.asks and row.state is ExecutionState.TIMED_OUT)

    def _counts(self, row: Row) -> bool:
        """Whether a wave's success is a share of this one too."""
        if not row.ended or self._is_tried_again(row):
            return True
        if row.state is ExecutionState.SUCCEEDED:
            return self.is_good(row) or not row.acknowledged
        return self._has_failed(row)

    def is_good(self, row: Row) -> bool:
        """Whether it has the build, and runs it as far as anybody knows."""
        hub, name = self.hub, row.device_id
        if row.state is not ExecutionState.SUCCEEDED:
            return False
        said, slot = hub.running.get(name), hub.slots[name]
        later = said is not None and said.made_at > (row.ended_by_device_at or hub.now)
        odd = said is not None and later and said.running != row.digest
        taken = slot is None or slot.owner != ROLLOUT or name in hub.newer or name in hub.pinned
        return taken or not odd

    def _keeps_pace(self) -> None:
        hub, pace = self.hub, self.hub.rollout.policy.pace
        began = hub.began
        self.began |= {(b.device_id, b.attempt) for b in began[self.checked :]}
        assert len(self.began) == len(began), "an attempt was started twice"
        fresh, self.checked = began[self.checked :], len(began)
        if pace is None or not fresh:
            return
        ramp = pace.base_per_minute * pace.factor ** min(
            self.succeeded_most // pace.after_succeeded, 60
        )
        self.rate_most = max(ramp, self.rate_most)
        ceiling = pace.per_minute_max
        rate = self.rate_most if ceiling is None else min(self.rate_most, ceiling)
        within_s = MINUTE_S / min(rate, 1.0)
        lately = [b for b in reversed(began) if hub.now - b.at < within_s]
        forward = sum(not b.reverts for b in lately)
        if any(not b.reverts for b in fresh):
            assert forward <= max(1.0, rate), f"{forward} starts in {within_s} s at {rate}"
        if ceiling is not None and ceiling >= 1.0:
            minute = sum(hub.now - b.at < MINUTE_S for b in lately)
            assert minute <= ceiling, f"{minute} starts in a minute; {ceiling} are allowed"
