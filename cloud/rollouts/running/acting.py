"""Carries out what the planner answers: each action checked against its rows first.

So an action that is carried out twice, or that was planned from what has changed since, changes
nothing. What many devices need is read for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal
from cloud.fleet import facts as fleet_facts
from cloud.fleet.models import Device
from cloud.lots import lots
from cloud.registry import service as registry
from cloud.rollouts import queries
from cloud.rollouts.journal import BY_ENGINE, note
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.planning.views import (
    Abort,
    Action,
    AskPerson,
    EndExecution,
    Finish,
    LookAtGate,
    MarkDiverged,
    NextWave,
    NoWayBack,
    Pause,
    Release,
    StartExecution,
    Stop,
)
from cloud.rollouts.running import receiving
from cloud.rollouts.running.failing import why_not_all
from cloud.rollouts.running.leaving import mark_diverged
from cloud.rollouts.running.looking import last_word
from cloud.rollouts.running.telling import ENGINE, Teller
from cloud.rollouts.states import (
    HUB_EXECUTION_TABLE,
    PINNED_BY,
    ROLLOUT_TABLE,
    Outcome,
    RolloutEvent,
    RolloutState,
    receive,
)
from protocol.machine import advance
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionEvent, ExecutionState

DEPLOYMENT_WORDS: Mapping[RolloutEvent, str] = {
    RolloutEvent.APPROVAL_ASKED: "waiting",
    RolloutEvent.STARTED: "started",
    RolloutEvent.PAUSED: "paused",
    RolloutEvent.RESUMED: "resumed",
    RolloutEvent.COMPLETED: "finished",
    RolloutEvent.EMPTIED: "stopped",
}
"""What of a rollout goes into its model's history, and as which word."""

DeviceAction = StartExecution | NoWayBack | EndExecution | MarkDiverged | Release


@dataclass
class Work:
    """What one transaction has at hand of a rollout and some of its devices.

    Attributes:
        rows: by device, its attempts in their order.
        pinned: by whom its slot is pinned there.
    """

    session: Session
    rollout: Rollout
    now: float
    teller: Teller
    rows: dict[str, list[Execution]]
    devices: dict[str, Device]
    pinned: dict[str, str]

    def row(self, device_id: str, attempt: int) -> Execution | None:
        found = [row for row in self.rows.get(device_id, ()) if row.attempt == attempt]
        return found[0] if found else None


def devices_of(actions: Iterable[Action]) -> list[str]:
    """The devices that the actions are for."""
    found: dict[str, None] = {}
    for action in actions:
        match action:
            case Release(device_ids=device_ids):
                found.update(dict.fromkeys(device_ids))
            case StartExecution() | NoWayBack() | EndExecution() | MarkDiverged():
                found[action.device_id] = None
    return list(found)


def at_hand(session: Session, rollout: Rollout, device_ids: Sequence[str], now: float) -> Work:
    """Read what actions for these devices need."""
    work = Work(session, rollout, now, Teller(session, rollout), {}, {}, {})
    for some in lots(device_ids):
        for row in queries.attempts_of_all(session, rollout.id, some):
            work.rows.setdefault(row.device_id, []).append(row)
        work.devices |= fleet_facts.rows(session, some)
        work.pinned |= queries.pinned_on(session, rollout.model, some)
    return work


def act(session: Session, rollout: Rollout, action: Action, now: float) -> bool:
    """Carry out one action of the planner; False where it changed nothing any more.

    Raises IllegalEvent where the rollout itself is not where the action takes it from, and
    TypeError for `LookAtGate`, which is no act of one transaction: see `engine`.
    """
    if isinstance(action, DeviceAction):
        return act_on_all(at_hand(session, rollout, devices_of([action]), now), [action])
    match action:
        case NextWave(wave=wave):
            rollout.wave, rollout.asks = max(rollout.wave, wave), None
            rollout.reason = ""
            session.add(rollout)
            if not queries.wave_is_noted(session, rollout.id, rollout.wave):
                note(session, rollout, "wave", by=BY_ENGINE, now=now, wave=rollout.wave)
        case AskPerson(asks=asks, reason=reason):
            rollout.asks, rollout.reason = asks.value, reason
            session.add(rollout)
            _told(session, rollout, "asked", now, reason, asks=asks.value)
        case Pause(reason=reason):
            move(session, ENGINE, rollout, RolloutEvent.PAUSED, now, reason=reason)
            _told(session, rollout, "paused", now, reason)
        case Abort(reason=reason, revert=revert):
            move(session, ENGINE, rollout, RolloutEvent.CANCEL_REQUESTED, now, reason=reason)
            rollout.reverting, rollout.asks = revert, None
            _told(session, rollout, "aborted", now, reason, revert=revert)
        case Finish(outcome=outcome):
            rollout.outcome, rollout.asks = outcome.value, None
            why = why_not_all(session, rollout) if outcome is not Outcome.SUCCEEDED else ""
            move(session, ENGINE, rollout, RolloutEvent.COMPLETED, now, reason=why)
            _told(session, rollout, "finished", now, why, outcome=outcome.value)
        case Stop():
            _stop(session, rollout, action, now)
        case LookAtGate():
            raise TypeError("a look at a gate reads long; it is not carried out under the lock")
    return True


def act_on_all(work: Work, actions: Iterable[DeviceAction]) -> bool:
    """Carry out actions for devices that `work` has at hand, and tell the journal of a wave's
    first start, and of how many were tried again or superseded; False where nothing follows."""
    acted = [action for action in actions if act_on(work, action)]
    starts = [a for a in acted if isinstance(a, StartExecution) and not a.reverts]
    ends = [a for a in acted if isinstance(a, EndExecution)]
    retried = [(a.device_id, "tried again") for a in starts if a.attempt > 1]
    ended = [row for a in ends if (row := work.row(a.device_id, a.attempt)) is not None]
    superseded = [
        (row.device_id, row.reason) for row in ended if row.state == ExecutionState.SUPERSEDED.value
    ]
    session, rollout = work.session, work.rollout
    if starts and not queries.wave_is_noted(session, rollout.id, rollout.wave):
        note(session, rollout, "wave", by=BY_ENGINE, now=work.now, wave=rollout.wave)
    for kind, found in (("retried", retried), ("superseded", superseded)):
        if found:
            (first, why), more = found[0], len(found) - 1
            text = f"{first}: {why}" + (f"; and {more} more" if more else "")
            _told(session, rollout, kind, work.now, text, devices=len(found))
    return bool(acted)


def act_on(work: Work, action: DeviceAction) -> bool:
    """Carry out an action for devices that `work` has at hand; False where nothing follows."""
    match action:
        case StartExecution():
            return _start(work, action)
        case NoWayBack():
            row = _to_start(work, action, reverts=True)
            return row is not None and _keep_build(work, row, action.reason)
        case EndExecution():
            return _end(work, action)
        case MarkDiverged():
            return _mark(work, action)
        case Release(device_ids=device_ids):
            return _release(work, device_ids)


def move(
    session: Session,
    principal: Principal,
    rollout: Rollout,
    event: RolloutEvent,
    now: float,
    *,
    reason: str = "",
) -> None:
    """Move the rollout itself. Raises IllegalEvent where its state does not take `event`."""
    state = advance(ROLLOUT_TABLE, RolloutState(rollout.state), event)
    rollout.state, rollout.reason = state.value, reason
    if state in (RolloutState.FINISHED, RolloutState.STOPPED):
        rollout.ended_at = now
    session.add(rollout)
    access.audit(
        session, principal, f"rollout.{event.value}", f"rollout/{rollout.id}", reason=reason
    )
    if event in DEPLOYMENT_WORDS:
        registry.record_deployment(
            session, principal, rollout.model, rollout.version,
            rollout=rollout.id,
            event=DEPLOYMENT_WORDS[event],
            devices=queries.device_count(session, rollout.id),
            detail={"outcome": rollout.outcome, "reason": reason},
            at=now,
        )  # fmt: skip


def _told(
    session: Session,
    rollout: Rollout,
    kind: str,
    now: float,
    text: str = "",
    **detail: object,
) -> None:
    note(session, rollout, kind, by=BY_ENGINE, now=now, text=text, wave=rollout.wave, detail=detail)


def _stop(session: Session, rollout: Rollout, action: Stop, now: float) -> None:
    """The end of a rollout that was given up; REVERTED where all that had it are back."""
    reason = rollout.reason
    if rollout.reverting and not action.left:
        rollout.outcome = Outcome.REVERTED.value
    move(session, ENGINE, rollout, RolloutEvent.EMPTIED, now, reason=reason)
    _told(
        session, rollout, "stopped", now, reason,
        outcome=rollout.outcome, revert=rollout.reverting,
        reverted=action.reverted, left=action.left,
    )  # fmt: skip


def _start(work: Work, action: StartExecution) -> bool:
    device = work.devices[action.device_id]
    row = _to_start(work, action, reverts=action.reverts)
    if row is None:
        return False
    row.held = action.hold
    if action.reverts:
        if reason := work.teller.bring_back(row, device):
            return _keep_build(work, row, reason)
    else:
        row.before = work.teller.before(row, device)
        work.teller.bring(row, device, action.digest)
    row.digest, row.started_at, row.step_at = action.digest, work.now, work.now
    row.boots = device.boots
    work.session.add(row)
    return True


def _keep_build(work: Work, row: Execution, reason: str) -> bool:
    """End an attempt to go back before it began. What is desired stays: the device keeps it."""
    event = ExecutionEvent.CANCEL_REQUESTED
    row.state = advance(HUB_EXECUTION_TABLE, ExecutionState(row.state), event).value
    row.reason, row.step_at, row.ended_at = reason, work.now, work.now
    work.session.add(row)
    return True


def _to_start(work: Work, action: StartExecution | NoWayBack, *, reverts: bool) -> Execution | None:
    """The attempt that is to start; None where it has already, or may not any more."""
    row = work.row(action.device_id, action.attempt) or _next_attempt(work, action, reverts)
    if row is None or row.state != ExecutionState.QUEUED.value or row.started_at is not None:
        return None
    return None if action.device_id in work.pinned else row


def _next_attempt(
    work: Work, action: StartExecution | NoWayBack, reverts: bool
) -> Execution | None:
    """The attempt after one that has ended; None where it has not."""
    last = work.row(action.device_id, action.attempt - 1)
    if last is None or ExecutionState(last.state) not in TERMINAL_EXECUTION_STATES:
        return None
    row = last.following(work.now, reverts=reverts)
    work.rows[action.device_id].append(row)
    return row


def _end(work: Work, action: EndExecution) -> bool:
    row = work.row(action.device_id, action.attempt)
    if row is None or (ExecutionState(row.state), action.event) not in HUB_EXECUTION_TABLE:
        return False  # it has ended, or gone past where this could end it
    if _has_gone_on(work, row):
        return True
    state = advance(HUB_EXECUTION_TABLE, ExecutionState(row.state), action.event)
    row.state, row.reason = state.value, action.reason
    if action.event is ExecutionEvent.NEWER_DESIRED and action.device_id in work.pinned:
        row.reason = f"{PINNED_BY}{work.pinned[action.device_id]}"
    row.step_at = row.ended_at = work.now
    work.session.add(row)
    if row.released_at is None or action.event is not ExecutionEvent.TIMER_EXPIRED:
        work.teller.withdraw(row, work.devices[action.device_id])
    else:  # its site has exchanged: when it comes back it shall follow, counted as late
        row.reason += "; it had been given the word, and follows its site when it comes back"
    return True


def _has_gone_on(work: Work, row: Execution) -> bool:
    """Take what the device last reported of the attempt, where that goes further than its events;
    True where it does, and what was planned for the row is to be planned anew.

    A device says nothing a second time that was acknowledged: a hub that was restored from a backup
    learns from reports alone what became of an attempt since.
    """
    if row.started_at is None:
        return False
    step = last_word(work.rollout, row, work.devices[row.device_id])
    current = ExecutionState(row.state)
    if step is None or receive(current, step.report.state) is current:
        return False
    return receiving.on_executions(work.session, [step], now=work.now)


def _mark(work: Work, action: MarkDiverged) -> bool:
    row = work.row(action.device_id, action.attempt)
    if row is None or row.state != ExecutionState.SUCCEEDED.value:
        return False
    if row.diverged and row.by_hand == action.by_hand:
        return False
    mark_diverged(work.session, work.rollout, row, action.reason, work.now, by_hand=action.by_hand)
    return True


def _release(work: Work, device_ids: Sequence[str]) -> bool:
    """Let devices of a site exchange; one that was let go before is left as it is."""
    released = False
    for device_id in device_ids:
        row = work.rows.get(device_id, [])[-1:]
        for one in row:
            waits = one.held and one.state == ExecutionState.PREPARED.value
            if waits and one.released_at is None and work.teller.release(work.devices[device_id]):
                one.released_at = work.now
                work.session.add(one)
                released = True
    return released
