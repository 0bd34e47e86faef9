"""What the engine does with one rollout: show it to the planner, carry out its answer.

All of it runs in one transaction that holds the lease, so two engines never act on the
same state. Every action is checked against its execution first: carried out twice, it
changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, service_principal
from cloud.errors import NotFoundError
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.registry.resolution import BuildOffer
from cloud.rollouts import queries
from cloud.rollouts.models import Execution, Lease, Rollout
from cloud.rollouts.planner import (
    Action,
    DeviceView,
    EndExecution,
    Finish,
    MarkDiverged,
    NextWave,
    Pause,
    Policy,
    RolloutView,
    StartExecution,
    Stop,
    plan,
)
from cloud.rollouts.states import (
    HUB_EXECUTION_TABLE,
    ROLLOUT_TABLE,
    RolloutEvent,
    RolloutState,
)
from protocol.machine import advance
from protocol.messages import SlotDesired
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

ENGINE = service_principal("rollouts")
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


def look(session: Session, rollout: Rollout) -> tuple[RolloutView, list[DeviceView]]:
    """The rollout and its devices' latest executions as the planner sees them."""
    latest = {row.device_id: row for row in queries.executions(session, rollout.id)}
    fleet_devices = {device.id: device for device in fleet.list_devices(session, ENGINE)}
    newer = queries.devices_of_newer(session, rollout)
    view = RolloutView(
        state=RolloutState(rollout.state),
        wave=rollout.wave,
        waves=len(rollout.waves),
        builds=offers_of(session, rollout),
        policy=Policy(
            soak_s=rollout.soak_s,
            success_percent=rollout.success_percent,
            failed_max=rollout.failed_max,
            step_timeout_s=rollout.step_timeout_s,
            total_timeout_s=rollout.total_timeout_s,
            attempts_max=rollout.attempts_max,
        ),
    )
    return view, [
        _device_view(rollout, row, fleet_devices[row.device_id], row.device_id in newer)
        for row in latest.values()
    ]


def offers_of(session: Session, rollout: Rollout) -> tuple[BuildOffer, ...]:
    """The rollout's builds with what stands against them now: one that was rejected or
    revoked since the rollout began is given to no further device."""
    digests = {build["digest"] for build in rollout.builds}
    try:
        version = registry.get_version(session, ENGINE, rollout.model, rollout.version)
    except NotFoundError:  # deleted once nothing held it; there is nothing left to give out
        return ()
    return tuple(o for o in registry.offers(session, version) if o.digest in digests)


def _device_view(rollout: Rollout, row: Execution, device: Device, newer: bool) -> DeviceView:
    """What the planner needs of a device. Its report and desired state are parsed only
    where the answer hangs on them: a fleet at rest costs little."""
    state = ExecutionState(row.state)
    waiting = row.started_at is None and row.wave <= rollout.wave
    running_digest = _running_digest(rollout, row, device)
    moving = row.started_at is not None and state not in TERMINAL_EXECUTION_STATES
    asked = moving or running_digest not in (None, row.digest)
    reported = fleet.reported(device) if waiting else None
    return DeviceView(
        device_id=row.device_id,
        wave=row.wave,
        attempt=row.attempt,
        state=state,
        started_at=row.started_at,
        step_at=row.step_at,
        ended_at=row.ended_at,
        digest=row.digest,
        owned=asked and _desired_of(rollout, device) is not None,
        newer=newer,
        acknowledged=row.acknowledged,
        diverged=row.diverged,
        running_digest=running_digest,
        capabilities=reported.capabilities if reported else None,
    )


def _desired_of(rollout: Rollout, device: Device) -> SlotDesired | None:
    """What the rollout made the device's desired slot, while it still stands."""
    desired = fleet.desired(device)
    slot = desired.slots.get(rollout.model) if desired else None
    return slot if slot is not None and slot.rollout_id == rollout.id else None


def _running_digest(rollout: Rollout, row: Execution, device: Device) -> str | None:
    """What a device that had succeeded runs by a report that it made after that. Both
    times are the device's own, so its clock need not agree with the hub's."""
    if row.state != ExecutionState.SUCCEEDED.value:
        return None
    running = device.running.get(rollout.model)
    if running in (None, row.digest):
        return running
    reported = fleet.reported(device)
    at = row.device_ended_at
    later = reported is not None and at is not None and reported.reported_at > at
    return running if later else None


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
        case MarkDiverged():
            row = session.get_one(Execution, (rollout.id, action.device_id, action.attempt))
            row.diverged, row.reason = True, action.reason
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
        row.before = _slot_before(session, rollout, action.device_id)
    row.digest, row.started_at, row.step_at = action.digest, now, now
    session.add(row)
    build: Mapping[str, int] = next(b for b in rollout.builds if b["digest"] == action.digest)
    wanted = SlotDesired(
        bundle_digest=action.digest,
        manifest_bytes=build["manifest_bytes"],
        model=rollout.model,
        version=rollout.version,
        rollout_id=rollout.id,
        attempt=action.attempt,
        probation_s=rollout.probation_s,
    )
    fleet.set_slot(session, ENGINE, action.device_id, rollout.model, wanted)


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


def _slot_before(session: Session, rollout: Rollout, device_id: str) -> str | None:
    desired = fleet.desired(fleet.get_device(session, ENGINE, device_id))
    slot = desired.slots.get(rollout.model) if desired else None
    return slot.model_dump_json() if slot else None


def _end(session: Session, rollout: Rollout, action: EndExecution, now: float) -> None:
    row = session.get_one(Execution, (rollout.id, action.device_id, action.attempt))
    if ExecutionState(row.state) in TERMINAL_EXECUTION_STATES:
        return
    state = advance(HUB_EXECUTION_TABLE, ExecutionState(row.state), action.event)
    row.state, row.reason = state.value, action.reason
    row.step_at = row.ended_at = now
    session.add(row)
    withdraw(session, rollout, row)


def withdraw(session: Session, rollout: Rollout, row: Execution) -> None:
    """Where the slot still desires this rollout, desire again what it did before.

    So a device that comes back late does not install what was given up meanwhile, and a
    desired state never names a build that failed there.
    """
    device = fleet.get_device(session, ENGINE, row.device_id)
    if _desired_of(rollout, device) is None:
        return
    before = SlotDesired.model_validate_json(row.before) if row.before else None
    fleet.set_slot(session, ENGINE, row.device_id, rollout.model, before)
