"""Pins: a person holds one device's slot at one build, and no rollout touches it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import selectors
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.fleet.schemas import DesiredChange
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.rollouts import queries
from cloud.rollouts.journal import note
from cloud.rollouts.models import DevicePin, Execution, Rollout
from cloud.rollouts.request.spec import spec_of
from cloud.rollouts.running.going_back import WayBack, had_before, own_attempt, own_wish
from cloud.rollouts.running.joining import join_again
from cloud.rollouts.states import HUB_EXECUTION_TABLE, PINNED_BY, RolloutState
from protocol.machine import advance
from protocol.messages import SlotDesired
from protocol.states import (
    BEFORE_EXCHANGE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)

_OPEN = [s.value for s in ExecutionState if s not in TERMINAL_EXECUTION_STATES]
_WITHDRAWN = [s.value for s in BEFORE_EXCHANGE]
_SUCCEEDED = ExecutionState.SUCCEEDED.value
_WATCHES_OVER = [
    s.value for s in (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.FINISHED)
]


def pins(
    session: Session,
    principal: Principal,
    *,
    model: str | None = None,
    device_id: str | None = None,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
) -> Sequence[DevicePin]:
    """By device and model, from the one after `after` (device id, model)."""
    require(principal, Role.VIEWER)
    return queries.pins(session, model=model, device_id=device_id, after=after, limit=limit)


def pin(
    session: Session,
    principal: Principal,
    device_id: str,
    model: str,
    *,
    version: int | None = None,
    digest: str | None = None,
    remark: str = "",
) -> DevicePin:
    """Hold a device's slot at a build, until it is unpinned. Pinned again, the build changes.

    version, digest: the version's best build for the device, or that one build; without either,
        what the device runs now. An attempt of a rollout that has not exchanged it yet ends
        SUPERSEDED.

    Raises:
        NotFoundError: there is no such device, version or build.
        InvalidError: the device does not use the model, nothing runs that could be held, no
            build of the version fits, or the build is of another model or rejected.
        ConflictError: the version is archived or revoked.
    """
    require(principal, Role.OPERATOR)
    device = fleet.get_device(session, principal, device_id)
    session.refresh(device, with_for_update=True)
    if model not in device.models:
        raise InvalidError(
            f"model: device {device_id} does not run {model}",
            f"it runs {', '.join(device.models) or 'none'}",
        )
    build = _build(session, principal, device, model, version=version, digest=digest)
    now = time.time()
    before = _before(session, device, model)
    for one, rollout in _latest(session, device_id, model):
        if one.state in (*_OPEN, _SUCCEEDED):
            note(
                session, rollout, "pinned", by=principal.name, now=now, text=remark,
                wave=one.wave, device_id=device_id,
            )  # fmt: skip
    began_here = _supersede(session, principal, device_id, model, now=now)
    row = session.get(DevicePin, (device_id, model))
    if row is None:
        row = DevicePin(
            device_id=device_id, model=model, digest="", version=1, before=before, by="", at=now
        )
    row.digest, row.version = build.digest, build.number
    row.by, row.at, row.remark = principal.name, now, remark
    session.add(row)
    slot = _slot(device, model)
    # A build that was named is an attempt of its own also where it is desired already: somebody
    # at the device may have left that, and the hub not have heard of it.
    named = version is not None or digest is not None
    if named or began_here or slot is None or slot.bundle_digest != build.digest:
        _tell(session, principal, device, own_wish(device, build))
    fleet.touch(session, [device_id])
    access.audit(
        session, principal, "device.pin", f"device/{device_id}",
        model=model, digest=build.digest, remark=remark,
    )  # fmt: skip
    return row


def unpin(
    session: Session, principal: Principal, device_id: str, model: str, remark: str = ""
) -> tuple[str | None, str]:
    """Let rollouts have the slot again, and bring back what the device had before the pin.

    Returns the digest that is desired again, or None with the reason: nothing was, and nothing
    is; or it is below the model's floor, rejected or deleted, and the device is left what it was
    held at.

    Raises NotFoundError where the slot is not pinned.
    """
    require(principal, Role.OPERATOR)
    device = fleet.get_device(session, principal, device_id)
    session.refresh(device, with_for_update=True)
    row = session.get(DevicePin, (device_id, model))
    if row is None:
        raise NotFoundError(
            f"{model} is not pinned on device {device_id}", "`argosy rollout pins` shows the pins"
        )
    before, reason = WayBack(session).of(row.before, device_id)
    if before is None:
        reason = "nothing was desired before the pin, so nothing is"
    now, there = time.time(), _latest(session, device_id, model)
    if before is None:
        fleet.set_slot(session, principal, device_id, model, None)
    elif not reason:
        _tell(session, principal, device, _restored(session, device, before, now))
    session.delete(row)
    fleet.touch(session, [device_id])
    for one, rollout in there:
        if one.state in (*_OPEN, _SUCCEEDED, ExecutionState.SUPERSEDED.value):
            note(
                session, rollout, "unpinned", by=principal.name, now=now, text=remark,
                device_id=device_id, detail={"reason": reason},
            )  # fmt: skip
            join_again(session, rollout, one, now)
    access.audit(
        session, principal, "device.unpin", f"device/{device_id}", model=model, remark=remark
    )
    return (None, reason) if reason or before is None else (before.bundle_digest, "")


def change_desired(
    session: Session, principal: Principal, device_id: str, change: DesiredChange
) -> int:
    """Change by hand what a device is to run; returns the generation of its desired state.

    Raises:
        NotFoundError: there is no such device.
        ConflictError: a slot that it changes is pinned.
    """
    require(principal, Role.OPERATOR)
    device = fleet.get_device(session, principal, device_id)
    session.refresh(device, with_for_update=True)
    for model, wanted in (change.slots or {}).items():
        held = session.get(DevicePin, (device_id, model))
        if held is not None and wanted != _slot(device, model):
            raise ConflictError(
                f"slots.{model}: {held.by} has pinned {device_id} to {model} v{held.version}",
                f"`argosy rollout unpin {device_id} {model}` first, or pin it to another build",
            )
    return fleet.change_desired(
        session, principal, device_id,
        slots=change.slots, harvest=change.harvest,
        telemetry_window_s=change.telemetry_window_s, keep_floors=True,
    )  # fmt: skip


def delete_group(session: Session, principal: Principal, name: str) -> None:
    """Take a group away.

    Raises:
        NotFoundError: there is none.
        ConflictError: a continuous rollout takes devices by it.
    """
    fleet.get_group(session, principal, name)
    for rollout in queries.watched(session):
        spec = spec_of(rollout)
        if not spec.continuous or rollout.ended_at is not None:
            continue
        if name in selectors.groups_named(selectors.parse(spec.selector)):
            raise ConflictError(
                f"continuous rollout {rollout.name} takes devices by group {name}",
                f"`argosy rollout cancel {rollout.id}` first",
            )
    fleet.delete_group(session, principal, name)


def _build(
    session: Session,
    principal: Principal,
    device: Device,
    model: str,
    *,
    version: int | None,
    digest: str | None,
) -> Build:
    """The build to hold the device at."""
    field = "bundle_digest" if version is None else "version"
    if version is not None:
        found, _, _ = registry.resolve_for(session, principal, model, version, device.id)
        if found.best is None:
            registry.check_standing(session, model, version)
            raise InvalidError(
                f"version: no build of {model} v{version} fits {device.id}: {found.reason}",
                "make one for it with `argosy build start`, or name another version",
            )
        digest = found.best
    digest = digest or device.running.get(model)
    if digest is None:
        raise InvalidError(
            f"version: {device.id} has not said that it runs any build of {model}",
            "name the version or the build to hold it at",
        )
    build = registry.get_build(session, principal, digest)
    if build.model != model:
        raise InvalidError(
            f"{field}: that build is of model {build.model}, not {model}", "name another build"
        )
    registry.check_standing(session, model, build.number)
    if not registry.admitted(build):
        raise InvalidError(
            f"{field}: {model} v{build.number}, {digest[:12]}, is rejected",
            "name another build, or reinstate it",
        )
    return build


def _before(session: Session, device: Device, model: str) -> str | None:
    """What unpinning brings back, as JSON text: what the device had, and where its slot desires
    an attempt that the pin ends, what that attempt would have replaced."""
    slot = _slot(device, model)
    for row, rollout in queries.on_device(session, device.id, model, _WITHDRAWN):
        if slot is not None and slot.rollout_id == rollout.id and row.started_at is not None:
            return row.before
    had = had_before(session, device, model)
    return had.model_dump_json() if had else None


def _supersede(
    session: Session, principal: Principal, device_id: str, model: str, *, now: float
) -> bool:
    """End attempts that have not exchanged the build yet; True where one had begun."""
    began = False
    for row, _ in queries.on_device(session, device_id, model, _WITHDRAWN):
        began |= row.started_at is not None
        state = advance(
            HUB_EXECUTION_TABLE, ExecutionState(row.state), ExecutionEvent.NEWER_DESIRED
        )
        row.state, row.reason = state.value, PINNED_BY + principal.name
        row.step_at = row.ended_at = now
        session.add(row)
    return began


def _restored(session: Session, device: Device, before: SlotDesired, now: float) -> SlotDesired:
    """What the device had before the pin, as it is told again: its rollout's where that still
    watches over it, so that it is taken back and counted with the others."""
    slot = _slot(device, before.model)
    if slot is not None and slot.bundle_digest == before.bundle_digest:
        return before  # it runs
    last = _brought(session, device, before)
    if last is not None and last.state in _OPEN:
        return before  # it was exchanged as the pin came, and goes on
    if last is not None and last.state == _SUCCEEDED and not last.by_hand:
        # Its own attempt is over: nobody would hear how it goes this time.
        again = last.following(now, digest=last.digest, started_at=now, boots=device.boots)
        session.add(again)
        own: dict[str, str | int | None] = {"attempt": again.attempt}
    else:
        own = {"rollout_id": None, "attempt": own_attempt(device)}
    return before.model_copy(update={**own, "hold": False, "shadow": None})


def _brought(session: Session, device: Device, before: SlotDesired) -> Execution | None:
    """The attempt that had brought it, where that is its rollout's last one there, and the
    rollout still watches over its devices."""
    rollout = session.get(Rollout, before.rollout_id or "")
    if rollout is None or not rollout.watched or rollout.state not in _WATCHES_OVER:
        return None
    last = queries.attempts_of(session, rollout.id, device.id)[-1:]
    key = (before.attempt, before.bundle_digest)
    fits = [row for row in last if (row.attempt, row.digest) == key and not row.reverts]
    return fits[0] if fits else None


def _latest(session: Session, device_id: str, model: str) -> list[tuple[Execution, Rollout]]:
    """The device's last attempt of each rollout of the model that is watched."""
    found = queries.on_device(session, device_id, model, [state.value for state in ExecutionState])
    ordered = sorted(found, key=lambda pair: pair[0].attempt)
    return list({r.id: (row, r) for row, r in ordered if r.watched}.values())


def _tell(session: Session, principal: Principal, device: Device, wanted: SlotDesired) -> None:
    floor = registry.floor(session, wanted.model)
    wanted = wanted.model_copy(update={"floor": floor})
    fleet.set_slot(session, principal, device.id, wanted.model, wanted)


def _slot(device: Device, model: str) -> SlotDesired | None:
    desired = fleet.desired(device)
    return desired.slots.get(model) if desired else None
