"""What the engine does with one rollout: show it to the planner, carry out its answer.

All of it runs in one transaction that holds the lease, so two engines never act on the
same state. Every action is checked against its execution first: carried out twice, it
changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal
from cloud.registry import service as registry
from cloud.rollouts import queries, telling
from cloud.rollouts.looking import look
from cloud.rollouts.models import Execution, Lease, Rollout
from cloud.rollouts.planner import plan
from cloud.rollouts.states import (
    HUB_EXECUTION_TABLE,
    ROLLOUT_TABLE,
    RolloutEvent,
    RolloutState,
)
from cloud.rollouts.telling import ENGINE
from cloud.rollouts.views import (
    Action,
    DeviceView,
    EndExecution,
    Finish,
    MarkDiverged,
    NextWave,
    Pause,
    Release,
    StartExecution,
    Stop,
)
from protocol.machine import advance
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionEvent, ExecutionState

LEASE_NAME = "rollouts"

DEPLOYMENT_WORDS: Mapping[RolloutEvent, str] = {
    RolloutEvent.APPROVAL_ASKED: "waiting",
    RolloutEvent.STARTED: "started",
    RolloutEvent.PAUSED: "paused",
    RolloutEvent.RESUMED: "resumed",
    RolloutEvent.COMPLETED: "finished",
    RolloutEvent.EMPTIED: "stopped",
}
"""What of a rollout goes into its model's history, and as which word."""


def hold_lease(session: Session, owner: str, now: float, lease_s: float) -> bool:
    """Take or prolong the right to act; False while another engine has it."""
    lease = session.get(Lease, LEASE_NAME, with_for_update=True)
    if lease is None:
        lease = Lease(name=LEASE_NAME, owner=owner, expires_at=now + lease_s)
    elif lease.owner != owner and lease.expires_at > now:
        return False
    lease.owner, lease.expires_at = owner, now + lease_s
    session.add(lease)
    session.flush()
    return True


def due(session: Session, now: float) -> list[str]:
    """Rollouts for which something follows now, oldest first."""
    found = []
    for rollout in queries.watched(session):
        view, devices = look(session, rollout)
        if plan(view, devices, now) or _settled(rollout, devices):
            found.append(rollout.id)
    return found


def step(session: Session, rollout_id: str, now: float) -> list[Action]:
    """Plan one rollout and carry the actions out."""
    rollout = session.get(Rollout, rollout_id)
    if rollout is None or not rollout.watched:
        return []
    view, devices = look(session, rollout)
    actions = plan(view, devices, now)
    if not actions and _settled(rollout, devices):
        rollout.watched = False
        session.add(rollout)
    for action in actions:
        act(session, rollout, action, now)
    return actions


def _settled(rollout: Rollout, devices: Sequence[DeviceView]) -> bool:
    """Whether nothing can follow any more: it has ended, and newer rollouts have the
    devices on which it succeeded."""
    if rollout.state == RolloutState.STOPPED.value:
        return True
    standing = any(
        device.open or (device.state is ExecutionState.SUCCEEDED and not device.newer)
        for device in devices
    )
    return rollout.state == RolloutState.FINISHED.value and not standing


def act(session: Session, rollout: Rollout, action: Action, now: float) -> None:
    """Carry out one action of the planner."""
    match action:
        case StartExecution():
            _start(session, rollout, action, now)
        case EndExecution():
            _end(session, rollout, action, now)
        case Release(device_ids=device_ids):
            _release(session, rollout, device_ids, now)
        case MarkDiverged():
            row = session.get_one(Execution, (rollout.id, action.device_id, action.attempt))
            row.diverged, row.reason, row.by_hand = True, action.reason, action.by_hand
            row.step_at = now
            session.add(row)
        case NextWave(wave=wave):
            rollout.wave = max(rollout.wave, wave)
            session.add(rollout)
        case Pause(reason=reason):
            move(session, ENGINE, rollout, RolloutEvent.PAUSED, now, reason=reason)
        case Finish(outcome=outcome):
            rollout.outcome = outcome.value
            move(session, ENGINE, rollout, RolloutEvent.COMPLETED, now)
        case Stop():
            move(session, ENGINE, rollout, RolloutEvent.EMPTIED, now)


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


def _start(session: Session, rollout: Rollout, action: StartExecution, now: float) -> None:
    row = session.get(Execution, (rollout.id, action.device_id, action.attempt))
    if row is None:
        row = _next_attempt(session, rollout, action, now)
    if row.started_at is not None or row.state != ExecutionState.QUEUED.value:
        return
    if row.attempt == 1:
        row.before = telling.slot_before(session, rollout, action.device_id)
    row.digest, row.started_at, row.step_at = action.digest, now, now
    row.held = action.hold
    session.add(row)
    telling.bring(session, rollout, row, action.digest)


def _release(session: Session, rollout: Rollout, device_ids: Sequence[str], now: float) -> None:
    """Let devices of a site exchange; one that was let go before is left as it is."""
    for row in queries.prepared_of(session, rollout.id, device_ids):
        if row.held and row.released_at is None and telling.release(session, rollout, row):
            row.released_at = now
            session.add(row)


def _next_attempt(
    session: Session, rollout: Rollout, action: StartExecution, now: float
) -> Execution:
    last = session.get_one(Execution, (rollout.id, action.device_id, action.attempt - 1))
    return Execution(
        rollout_id=rollout.id,
        device_id=action.device_id,
        attempt=action.attempt,
        wave=last.wave,
        state=ExecutionState.QUEUED.value,
        step_at=now,
        before=last.before,
    )


def _end(session: Session, rollout: Rollout, action: EndExecution, now: float) -> None:
    row = session.get_one(Execution, (rollout.id, action.device_id, action.attempt))
    if ExecutionState(row.state) in TERMINAL_EXECUTION_STATES:
        return
    state = advance(HUB_EXECUTION_TABLE, ExecutionState(row.state), action.event)
    row.state, row.reason = state.value, action.reason
    row.step_at = row.ended_at = now
    session.add(row)
    if row.released_at is None or action.event is not ExecutionEvent.TIMER_EXPIRED:
        telling.withdraw(session, rollout, row)
    else:  # its site has exchanged: when it comes back it shall follow, counted as late
        row.reason += "; it had been given the word, and follows its site when it comes back"
