"""Verbs of rollouts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.registry.offering import offer
from cloud.registry.resolution import BuildOffer, resolve, resolve_unheard
from cloud.registry.schemas import ResolutionView
from cloud.rollouts import queries, telling
from cloud.rollouts.acting import move
from cloud.rollouts.looking import ACCEPTED, INCONCLUSIVE, SHADOW_FIGURE, offers_of, shadow_of
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.schemas import DevicePlan, RolloutCreate, Selector
from cloud.rollouts.states import FAILURES, RolloutEvent, RolloutState, receive
from cloud.rollouts.waves import Target, Wave, assign
from protocol.errors import IllegalEvent
from protocol.messages import ExecutionReport
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

NAMED_MAX = 5


def create(session: Session, principal: Principal, asked: RolloutCreate) -> Rollout:
    """A new rollout; it runs at once unless it needs an approval.

    Raises:
        NotFoundError: the version, the build or a named device does not exist.
        InvalidError: no device is meant, a wave would be empty, every build is barred.
        ConflictError: the version is archived or revoked.
    """
    require(principal, Role.OPERATOR)
    builds = _builds(session, principal, asked)
    devices = _selected(session, principal, asked.model, asked.selector)
    rollout_id, now = uuid.uuid4().hex, time.time()
    assigned = _assigned(asked, devices, rollout_id)
    given = [wave.model_dump(exclude_none=True) for wave in asked.waves]
    policy = asked.model_dump(
        include={
            *("soak_s", "success_percent", "failed_max", "probation_s"),
            *("step_timeout_s", "total_timeout_s", "attempts_max", "site_atomic", "timeout_s"),
        }
    )
    policy |= asked.model_dump(include={"shadow", "window"}, exclude_none=True)
    rollout = Rollout(
        id=rollout_id,
        name=asked.name or f"{asked.model} v{builds[0].number}",
        model=asked.model,
        version=builds[0].number,
        builds=[_build_entry(build) for build in builds],
        selector=asked.selector.model_dump(exclude_none=True),
        waves=given + [{}] * (len(assigned) - len(given)),
        state=RolloutState.CREATING.value,
        created_at=now,
        created_by=principal.name,
        **policy,
    )
    session.add(rollout)
    session.flush()
    _add_executions(session, rollout, assigned, now)
    access.audit(
        session, principal, "rollout.create", f"rollout/{rollout_id}",
        model=asked.model, version=rollout.version, devices=len(devices),
    )  # fmt: skip
    if asked.needs_approval:
        waits = "waits for an approver"
        move(session, principal, rollout, RolloutEvent.APPROVAL_ASKED, now, reason=waits)
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
    builds = _builds(session, principal, asked)
    devices = _selected(session, principal, asked.model, asked.selector)
    assigned = _assigned(asked, devices, uuid.uuid4().hex)
    return builds[0].number, _plans(session, builds, devices, assigned)


def plans(session: Session, principal: Principal, rollout: Rollout) -> list[DevicePlan]:
    """For every device of a rollout, the build that it would get now."""
    require(principal, Role.VIEWER)
    latest = {row.device_id: row for row in queries.executions(session, rollout.id)}
    devices = [d for d in fleet.list_devices(session, principal) if d.id in latest]
    offers = offers_of(session, rollout)
    return [_plan(offers, device, latest[device.id].wave) for device in devices]


def _plans(
    session: Session,
    builds: Sequence[Build],
    devices: Sequence[Device],
    assigned: Sequence[Sequence[str]],
) -> list[DevicePlan]:
    lowest = registry.floor(session, builds[0].model)
    offers = [offer(build, lowest) for build in builds]
    waves = {device_id: number for number, wave in enumerate(assigned) for device_id in wave}
    return [_plan(offers, device, waves[device.id]) for device in devices]


def _plan(offers: Sequence[BuildOffer], device: Device, wave: int) -> DevicePlan:
    reported = fleet.reported(device)
    heard = reported is not None
    found = resolve(offers, reported.capabilities) if reported else resolve_unheard(offers)
    return DevicePlan(
        wave=wave, **ResolutionView.of(device.id, found, offers, heard=heard).model_dump()
    )


def _assigned(
    asked: RolloutCreate, devices: Sequence[Device], rollout_id: str
) -> Sequence[Sequence[str]]:
    """Device ids of each wave. Raises InvalidError where one would be empty."""
    waves = [Wave(wave.percent, wave.count, wave.labels) for wave in asked.waves]
    targets = [
        Target(device.id, device.labels, device.site if asked.site_atomic else None)
        for device in devices
    ]
    assigned = assign(waves, targets, rollout_id)
    _check_labels(waves, assigned)
    return assigned


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


def _builds(session: Session, principal: Principal, asked: RolloutCreate) -> list[Build]:
    """The builds to give out, of one version."""
    if asked.bundle_digest is not None:
        found = [registry.get_build(session, principal, asked.bundle_digest)]
        if found[0].model != asked.model:
            raise InvalidError(
                f"bundle_digest: that build is of model {found[0].model}, not {asked.model}",
                f"set model to {found[0].model} or name another build",
            )
    else:
        number = asked.version or 0
        version = registry.get_version(session, principal, asked.model, number)
        found = registry.builds_of(session, version)
    if found:
        registry.check_standing(session, asked.model, found[0].number)
    standing = [build for build in found if registry.admitted(build)]
    if not standing:
        raise InvalidError(
            f"{asked.model} has no build there that is not rejected",
            "name another version, or reinstate the build",
        )
    return standing


def _build_entry(build: Build) -> dict[str, Any]:
    return build.model_dump(include={"digest", "manifest_bytes", "identity"})


def _selected(
    session: Session, principal: Principal, model: str, selector: Selector
) -> list[Device]:
    everything = fleet.list_devices(session, principal)
    _check_named(model, selector, {device.id: device for device in everything})
    chosen = [
        device
        for device in everything
        if model in device.models
        and (selector.devices is None or device.id in set(selector.devices))
        and (selector.sites is None or device.site in selector.sites)
        and selector.labels.items() <= device.labels.items()
    ]
    if not chosen and selector == Selector():
        raise InvalidError(
            f"no device uses {model}",
            f"enrol one: `argosy device enrol NAME --model {model}`",
        )
    if not chosen:
        raise InvalidError(
            f"selector: no device that runs {model} fits it",
            "widen the selector, or enrol devices with this model",
        )
    return chosen


def _check_named(model: str, selector: Selector, known: dict[str, Device]) -> None:
    named = selector.devices or []
    missing = sorted(set(named) - set(known))
    if missing:
        raise NotFoundError(
            f"selector.devices: not enrolled: {', '.join(missing[:NAMED_MAX])}",
            "`argosy device list` shows the enrolled ones",
        )
    others = sorted(name for name in named if model not in known[name].models)
    if others:
        raise InvalidError(
            f"selector.devices: {', '.join(others[:NAMED_MAX])} does not run {model}",
            "leave it out, or enrol it with this model",
        )


def _check_labels(waves: Sequence[Wave], assigned: Sequence[Sequence[str]]) -> None:
    for number, wave in enumerate(waves):
        if wave.labels is not None and not assigned[number]:
            words = ", ".join(f"{key}={value}" for key, value in wave.labels.items())
            raise InvalidError(
                f"waves.{number}.labels: no remaining device carries {words}",
                "correct the labels, or put this wave before the ones that take its devices",
            )


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
