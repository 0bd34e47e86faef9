"""What stays, what is put away, and what is revoked: archive, pin, delete, floor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require, service_principal
from cloud.errors import ConflictError, InvalidError
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.jobs import service as jobs
from cloud.reasons import check_reason
from cloud.registry import queries
from cloud.registry.history import FLOOR_MOVED, open_rollouts
from cloud.registry.models import Build, DetectorModel, ModelVersion
from cloud.registry.reading import builds_of, get_model, get_version

REGISTRY = service_principal("registry")
NAMED_MAX = 5

OnFloorSet = Callable[[Session, str, int], None]
"""Told (session, model, floor) in the transaction that sets a floor; raising undoes it."""

OnVersionDeleted = Callable[[Session, ModelVersion, Sequence[Build]], None]
"""Told before the rows go, in the same transaction, so that rows that refer to them go too."""


def set_floor(
    session: Session,
    principal: Principal,
    model: str,
    floor: int,
    *,
    reason: str = "",
    hooks: Sequence[OnFloorSet] = (),
) -> DetectorModel:
    """Revoke every version below `floor`; lowering it takes a revocation back.

    Raises:
        ForbiddenError: an operator lowers it; that is an administrator's.
        InvalidError: there is no such version, or it is lowered without a reason.
        ConflictError: an alias points below it.
    """
    require(principal, Role.APPROVER)
    row = get_model(session, principal, model)
    if floor == row.floor:
        return row
    lowered = floor < row.floor
    check_reason(reason, f"the floor is not {'lowered' if lowered else 'raised'}", needed=lowered)
    if lowered:
        require(principal, Role.ADMINISTRATOR)
    newest = queries.newest_number(session, model)
    if not 1 <= floor <= max(1, newest):
        raise InvalidError(
            f"a floor of {floor} leaves no version of {model}; its newest is {newest}",
            "name a version that exists",
        )
    for alias in queries.aliases(session, model):
        if alias.number < floor:
            raise ConflictError(
                f"alias {alias.alias} points at v{alias.number}, below a floor of v{floor}",
                f"move it first: `argosy model alias set {model} {alias.alias} NUMBER`",
            )
    before, row.floor = row.floor, floor
    session.add(row)
    access.audit(
        session, principal, FLOOR_MOVED, f"model/{model}",
        before=before, floor=floor, reason=reason,
    )  # fmt: skip
    session.flush()
    for hook in hooks:
        hook(session, model, floor)
    return row


def set_policy(
    session: Session, principal: Principal, model: str, policy: Mapping[str, Any]
) -> DetectorModel:
    """Replace what a model demands of its candidates; what it may hold is the gate's to check."""
    require(principal, Role.APPROVER)
    row = get_model(session, principal, model)
    if row.policy != dict(policy):
        before, row.policy = row.policy, dict(policy)
        session.add(row)
        access.audit(
            session, principal, "model.policy", f"model/{model}",
            before=before, policy=row.policy,
        )  # fmt: skip
        session.flush()
    return row


def pin(
    session: Session, principal: Principal, model: str, number: int, *, pinned: bool = True
) -> ModelVersion:
    """Keep a version whatever asks for its deletion, or let it go again."""
    require(principal, Role.OPERATOR)
    version = get_version(session, principal, model, number)
    if version.pinned != pinned:
        version.pinned = pinned
        session.add(version)
        verb = "version.pin" if pinned else "version.unpin"
        access.audit(session, principal, verb, f"model/{model}/{number}")
    return version


def archive_version(
    session: Session, principal: Principal, model: str, number: int, *, archived: bool = True
) -> ModelVersion:
    """Hide a version from lists and rollouts, or bring it back.

    Raises:
        ConflictError: it is deployed, pinned, aliased, in an open rollout, or worked on by a job.
    """
    require(principal, Role.OPERATOR)
    version = get_version(session, principal, model, number)
    if archived:
        _refuse_held("archived", f"{model} v{number}", _held_version(session, version))
    if archived != (version.archived_at is not None):
        version.archived_at = time.time() if archived else None
        session.add(version)
        verb = "version.archive" if archived else "version.unarchive"
        access.audit(session, principal, verb, f"model/{model}/{number}")
    return version


def archive_model(
    session: Session, principal: Principal, model: str, *, archived: bool = True
) -> DetectorModel:
    """Hide a model from lists and rollouts, or bring it back.

    Raises:
        ConflictError: a version of it is deployed, pinned, aliased, in an open rollout, or
            worked on by a job.
    """
    require(principal, Role.OPERATOR)
    row = get_model(session, principal, model)
    if archived:
        _refuse_held("archived", model, _held_model(session, model))
    if archived != (row.archived_at is not None):
        row.archived_at = time.time() if archived else None
        session.add(row)
        verb = "model.archive" if archived else "model.unarchive"
        access.audit(session, principal, verb, f"model/{model}")
    return row


def delete_version(
    session: Session,
    principal: Principal,
    model: str,
    number: int,
    hooks: Sequence[OnVersionDeleted] = (),
) -> None:
    """Take away the rows of a version, its builds and artefacts.

    Their blobs stay until they are collected, and what history says of it stays for good.

    Raises:
        ConflictError: it is deployed, pinned, aliased, in an open rollout, worked on by a job,
            or another version started from it.
    """
    require(principal, Role.ADMINISTRATOR)
    version = get_version(session, principal, model, number)
    held = _held_version(session, version)
    if children := queries.children(session, model, number):
        held.append(f"it is the parent of v{', v'.join(map(str, children[:NAMED_MAX]))}")
    _refuse_held("deleted", f"{model} v{number}", held)
    _delete(session, version, hooks)
    access.audit(session, principal, "version.delete", f"model/{model}/{number}")
    session.flush()


def delete_model(
    session: Session, principal: Principal, model: str, hooks: Sequence[OnVersionDeleted] = ()
) -> None:
    """Take away a model with all its versions.

    Raises:
        ConflictError: a version of it is held as in `delete_version`, or it has a history of
            promotions or deployments, which stays for good and needs its model.
    """
    require(principal, Role.ADMINISTRATOR)
    row = get_model(session, principal, model)
    _refuse_held("deleted", model, _held_model(session, model))
    if queries.promotions(session, model) or queries.deployments(session, model):
        raise ConflictError(
            f"{model} was promoted or deployed once, and that is not forgotten",
            f"put it away with `argosy model archive {model}`",
        )
    for version in queries.versions(session, model, 0, None, archived=True):
        _delete(session, version, hooks)
    session.flush()
    session.delete(row)
    access.audit(session, principal, "model.delete", f"model/{model}")
    session.flush()


def _delete(session: Session, version: ModelVersion, hooks: Sequence[OnVersionDeleted]) -> None:
    assert version.id is not None  # noqa: S101 - it came from the database
    builds = builds_of(session, version)
    for hook in hooks:
        hook(session, version, builds)
    for row in (*queries.artefacts(session, version.id), *builds):
        session.delete(row)
    session.flush()
    session.delete(version)


def _refuse_held(verb: str, what: str, held: Sequence[str]) -> None:
    if held:
        raise ConflictError(
            f"{what} is not {verb}: {'; '.join(held)}",
            "roll the devices onto another version, move the alias, take the pin away, or await "
            "the job first",
        )


def _held_model(session: Session, model: str) -> list[str]:
    held = [
        f"v{version.number} is pinned"
        for version in queries.versions(session, model, 0, None, archived=True)
        if version.pinned
    ]
    held += [f"alias {a.alias} points at v{a.number}" for a in queries.aliases(session, model)]
    held += _deployed(session, queries.model_digests(session, model))
    held += [f"rollout {rollout} is open" for rollout in open_rollouts(session, model)]
    return held + _worked_on(session, f"model/{model}")


def _held_version(session: Session, version: ModelVersion) -> list[str]:
    held = ["it is pinned"] if version.pinned else []
    held += [
        f"alias {alias.alias} points at it"
        for alias in queries.aliases(session, version.model)
        if alias.number == version.number
    ]
    held += _deployed(session, {build.digest for build in builds_of(session, version)})
    held += [
        f"rollout {rollout} is open"
        for rollout, number in open_rollouts(session, version.model).items()
        if number == version.number
    ]
    return held + _worked_on(session, f"model/{version.model}/{version.number}")


def _worked_on(session: Session, subject: str) -> list[str]:
    """Which jobs about `subject` are open, in words."""
    found = jobs.open_within(session, subject)
    return [f"{job.kind} job {job.id} is {job.state.lower()}" for job in found[:NAMED_MAX]]


def _deployed(session: Session, digests: set[str]) -> list[str]:
    """Who runs or is told to run one of `digests`, in words."""
    devices = [
        device.id
        for device in fleet.list_devices(session, REGISTRY)
        if digests & (set(device.running.values()) | _desired(device))
    ]
    if not devices:
        return []
    more = f" and {len(devices) - NAMED_MAX} more" if len(devices) > NAMED_MAX else ""
    return [f"deployed on {', '.join(devices[:NAMED_MAX])}{more}"]


def _desired(device: Device) -> set[str]:
    desired = fleet.desired(device)
    return set() if desired is None else {slot.bundle_digest for slot in desired.slots.values()}
