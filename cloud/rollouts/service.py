"""Verbs of rollouts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, NotFoundError
from cloud.fleet import service as fleet
from cloud.registry.models import Build
from cloud.rollouts import queries, targeting, telling
from cloud.rollouts.acting import move
from cloud.rollouts.looking import ACCEPTED, INCONCLUSIVE, SHADOW_FIGURE, offers_of, shadow_of
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.schemas import DevicePlan
from cloud.rollouts.spec import RolloutCreate, RolloutSpec
from cloud.rollouts.states import FAILURES, Asks, RolloutEvent, RolloutState, receive
from protocol.errors import IllegalEvent
from protocol.messages import ExecutionReport
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState


def create(session: Session, principal: Principal, asked: RolloutCreate) -> Rollout:
    """A new rollout; it runs at once unless it needs an approval.

    Raises:
        NotFoundError: the version, the build, a named device or a named group does not exist.
        InvalidError: no device is meant, a wave would be empty, every build is barred.
        ConflictError: the version is archived or revoked.
    """
    require(principal, Role.OPERATOR)
    rollout_id, now = uuid.uuid4().hex, time.time()
    meant = targeting.meant(session, principal, asked, rollout_id)
    spec = RolloutSpec.model_validate(
        asked.model_dump(exclude={"model", "version", "bundle_digest"})
    )
    spec.waves = meant.waves
    builds = meant.builds
    rollout = Rollout(
        id=rollout_id,
        name=asked.name or f"{asked.model} v{builds[0].number}",
        model=asked.model,
        version=builds[0].number,
        builds=[_build_entry(build) for build in builds],
        spec=spec.model_dump(mode="json"),
        priority=asked.priority,
        state=RolloutState.CREATING.value,
        created_at=now,
        created_by=principal.name,
    )
    session.add(rollout)
    session.flush()
    _add_executions(session, rollout, meant.assigned, now)
    access.audit(
        session, principal, "rollout.create", f"rollout/{rollout_id}",
        model=asked.model, version=rollout.version, devices=len(meant.devices),
    )  # fmt: skip
    if asked.needs_approval:
        waits = "waits for an approver"
        move(session, principal, rollout, RolloutEvent.APPROVAL_ASKED, now, reason=waits)
        rollout.asks = Asks.APPROVAL.value
    else:
        move(session, principal, rollout, RolloutEvent.PREPARED, now)
        move(session, principal, rollout, RolloutEvent.STARTED, now)
    return rollout


def preview(
    session: Session, principal: Principal, asked: RolloutCreate
) -> tuple[int, list[DevicePlan]]:
    """The version, and for every device the build that a rollout would bring to it now.

    Raises as `create` does; nothing is created. Which devices a wave of a percentage takes is
    drawn for each rollout, so the waves here show their sizes.
    """
    require(principal, Role.VIEWER)
    meant = targeting.meant(session, principal, asked, uuid.uuid4().hex)
    return meant.builds[0].number, targeting.plans(session, meant)


def plans(session: Session, principal: Principal, rollout: Rollout) -> list[DevicePlan]:
    """For every device of a rollout, the build that it would get now."""
    require(principal, Role.VIEWER)
    latest = {row.device_id: row for row in queries.executions(session, rollout.id)}
    devices = [d for d in fleet.list_devices(session, principal) if d.id in latest]
    offers = offers_of(session, rollout)
    return [targeting.plan(offers, device, latest[device.id].wave) for device in devices]


def list_rollouts(
    session: Session, principal: Principal, model: str | None, before: float | None, limit: int
) -> Sequence[Rollout]:
    """Newest first."""
    require(principal, Role.VIEWER)
    return queries.rollouts(session, model, before, limit)


def get(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    rollout = session.get(Rollout, rollout_id)
    if rollout is None:
        raise NotFoundError(f"there is no rollout {rollout_id}", "`argosy rollout list`")
    return rollout


def executions(session: Session, rollout: Rollout) -> Sequence[Execution]:
    """Every attempt of every device, by device and attempt."""
    return queries.executions(session, rollout.id)


def approve(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """Let a rollout that waits for approval run."""
    require(principal, Role.APPROVER)
    rollout = _moved(session, principal, rollout_id, RolloutEvent.APPROVED)
    rollout.asks = None
    move(session, principal, rollout, RolloutEvent.STARTED, time.time())
    return rollout


def pause(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """Start nothing more; what is under way on devices goes on."""
    return _moved(session, principal, rollout_id, RolloutEvent.PAUSED)


def resume(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """Go on. The failures so far are acknowledged: no gate counts them any more."""
    rollout = _moved(session, principal, rollout_id, RolloutEvent.RESUMED)
    for row in queries.executions(session, rollout_id):
        if ExecutionState(row.state) in FAILURES:
            row.acknowledged = True
            session.add(row)
    return rollout


def cancel(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """Give up what has not been exchanged yet. Devices that have the build keep it."""
    return _moved(session, principal, rollout_id, RolloutEvent.CANCEL_REQUESTED)


def accept(session: Session, principal: Principal, rollout_id: str, device_id: str) -> Rollout:
    """Let a device go on whose shadow ended without a verdict; accepted again, nothing changes.

    Raises:
        NotFoundError: there is no such rollout, or the device is not of it.
        ConflictError: the device is not asking.
    """
    require(principal, Role.APPROVER)
    rollout = get(session, principal, rollout_id)
    rows = [row for row in queries.executions(session, rollout_id) if row.device_id == device_id]
    if not rows:
        raise NotFoundError(
            f"device {device_id} is not of rollout {rollout.name}", "see `argosy rollout show`"
        )
    row = rows[-1]
    word = shadow_of(rollout, row, fleet.get_device(session, principal, device_id))
    if word == ACCEPTED:
        return rollout
    asks = word == INCONCLUSIVE and row.state == ExecutionState.SHADOWING.value
    if not (asks and telling.accept_shadow(session, principal, rollout, row)):
        raise ConflictError(
            f"{device_id} is {row.state} and asks nobody about its shadow",
            "only a device whose shadow has ended INCONCLUSIVE is accepted by a person",
        )
    row.shadow = ACCEPTED
    session.add(row)
    access.audit(
        session, principal, "rollout.accept", f"rollout/{rollout_id}",
        device=device_id, attempt=row.attempt,
    )  # fmt: skip
    return rollout


def on_execution(
    session: Session,
    device_id: str,
    report: ExecutionReport,
    at: float,
    *,
    now: float | None = None,
) -> bool:
    """Take a device's word on its execution; True where that moved it.

    at: when it happened, by the device's clock. Timers use the hub's `now`.
    """
    if report.rollout_id is None:
        return False
    row = session.get(Execution, (report.rollout_id, device_id, report.attempt))
    if row is None or row.started_at is None or report.bundle_digest != row.digest:
        return False
    state = receive(ExecutionState(row.state), report.state)
    if state is report.state and _asks_a_person(report) and not row.shadow:
        row.shadow, row.reason = INCONCLUSIVE, report.reason
        session.add(row)
    if state.value == row.state:
        return False
    row.state, row.reason = state.value, report.reason
    row.step_at = time.time() if now is None else now
    if state in TERMINAL_EXECUTION_STATES:
        row.ended_at, row.device_ended_at = row.step_at, at
        rollout = session.get_one(Rollout, report.rollout_id)
        row.by_hand = state is ExecutionState.CANCELED and telling.stands(session, rollout, row)
        if state is not ExecutionState.SUCCEEDED and not row.by_hand:
            telling.withdraw(session, rollout, row)
    session.add(row)
    return True


def _asks_a_person(report: ExecutionReport) -> bool:
    """Whether a shadow ended without a verdict; also where time ran out over the answer."""
    asking = report.state in (ExecutionState.SHADOWING, ExecutionState.TIMED_OUT)
    return asking and report.figures.get(SHADOW_FIGURE) == 1


def _moved(session: Session, principal: Principal, rollout_id: str, event: RolloutEvent) -> Rollout:
    require(principal, Role.OPERATOR)
    rollout = get(session, principal, rollout_id)
    try:
        said = f"{event.value} by {principal.name}"
        move(session, principal, rollout, event, time.time(), reason=said)
    except IllegalEvent as error:
        raise ConflictError(
            f"rollout {rollout.name} is {rollout.state}: {error}", "see `argosy rollout show`"
        ) from error
    return rollout


def _build_entry(build: Build) -> dict[str, Any]:
    return build.model_dump(include={"digest", "manifest_bytes", "identity"})


def _add_executions(
    session: Session, rollout: Rollout, assigned: Sequence[Sequence[str]], now: float
) -> None:
    session.add_all(
        Execution(
            rollout_id=rollout.id,
            device_id=device_id,
            attempt=1,
            wave=number,
            state=ExecutionState.QUEUED.value,
            step_at=now,
        )
        for number, wave in enumerate(assigned)
        for device_id in wave
    )
    session.flush()
