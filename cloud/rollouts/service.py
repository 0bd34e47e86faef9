"""Verbs of rollouts, gathered for the slices beside it; here is how one begins."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.fleet import service as fleet
from cloud.lots import lots
from cloud.registry.models import Build
from cloud.registry.offering import offer
from cloud.registry.service import floor
from cloud.rollouts.journal import note
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.pinning import change_desired, delete_group, pin, pins, unpin
from cloud.rollouts.reading import (
    executions,
    executions_page,
    first_executions,
    gates,
    get,
    id_of,
    journal,
    list_rollouts,
    wave_counts,
)
from cloud.rollouts.request import plans, targeting
from cloud.rollouts.request.spec import RolloutCreate, RolloutSpec
from cloud.rollouts.request.targeting import Meant
from cloud.rollouts.running.acting import move
from cloud.rollouts.running.receiving import on_execution
from cloud.rollouts.schemas import RolloutPlan
from cloud.rollouts.states import Asks, RolloutEvent, RolloutState
from cloud.rollouts.steering import (
    abort,
    accept,
    approve,
    cancel,
    force,
    pause,
    resume,
)
from protocol.states import ExecutionState

__all__ = [
    "abort",
    "accept",
    "approve",
    "cancel",
    "change_desired",
    "create",
    "create_with_plan",
    "delete_group",
    "executions",
    "executions_page",
    "first_executions",
    "force",
    "gates",
    "get",
    "id_of",
    "journal",
    "list_rollouts",
    "on_execution",
    "pause",
    "pin",
    "pins",
    "preview",
    "resume",
    "unpin",
    "wave_counts",
]


def create(session: Session, principal: Principal, asked: RolloutCreate) -> Rollout:
    """A new rollout; it runs at once unless it needs an approval.

    Raises:
        NotFoundError: the version, the build, a named device or a named group does not exist.
        InvalidError: no device is meant, the waves do not fit the devices, a threshold could
            never count, every build is barred.
        ConflictError: the version is archived or revoked.
    """
    return _begin(session, principal, asked)[0]


def create_with_plan(
    session: Session, principal: Principal, asked: RolloutCreate
) -> tuple[Rollout, RolloutPlan]:
    """As `create`, with what the rollout brings to whom."""
    rollout, meant = _begin(session, principal, asked)
    return rollout, _plan(session, meant)


def preview(session: Session, principal: Principal, asked: RolloutCreate) -> RolloutPlan:
    """What a rollout would bring to whom now: by wave, by build, who gets none, who is left out.

    Raises as `create` does; nothing is created. Which devices a wave of a percentage takes is
    drawn for each rollout, so the waves here show their sizes.
    """
    require(principal, Role.VIEWER)
    meant = targeting.meant(session, principal, asked, uuid.uuid4().hex, time.time())
    return _plan(session, meant)


def _plan(session: Session, meant: Meant) -> RolloutPlan:
    version = (meant.builds[0].model, meant.builds[0].number)
    lowest = floor(session, version[0])
    offers = [offer(build, lowest) for build in meant.builds]
    return plans.plan(
        version, offers, meant.waves, _placed(session, meant),
        pinned=meant.pinned, judged=meant.judged, doubts=meant.doubts,
    )  # fmt: skip


def _placed(session: Session, meant: Meant) -> Iterator[plans.Placed]:
    wave_of = {device_id: number for number, ids in enumerate(meant.assigned) for device_id in ids}
    for some in lots(meant.devices):
        texts = fleet.capability_texts(session, [device.id for device in some])
        for device in some:
            yield plans.Placed(device.id, wave_of[device.id], device.presence, texts.get(device.id))


def _begin(session: Session, principal: Principal, asked: RolloutCreate) -> tuple[Rollout, Meant]:
    require(principal, Role.OPERATOR)
    rollout_id, now = uuid.uuid4().hex, time.time()
    meant = targeting.meant(session, principal, asked, rollout_id, now)
    rollout = _rollout(principal, asked, meant, rollout_id, now)
    session.add(rollout)
    session.flush()
    _add_executions(session, rollout, meant.assigned, now)
    access.audit(
        session, principal, "rollout.create", f"rollout/{rollout_id}",
        model=asked.model, version=rollout.version, devices=len(meant.devices),
    )  # fmt: skip
    note(
        session, rollout, "created", by=principal.name, now=now, text=asked.remark,
        detail=_created(meant),
    )  # fmt: skip
    if asked.needs_approval:
        waits = "waits for an approver"
        move(session, principal, rollout, RolloutEvent.APPROVAL_ASKED, now, reason=waits)
        rollout.asks = Asks.APPROVAL.value
    else:
        move(session, principal, rollout, RolloutEvent.PREPARED, now)
        move(session, principal, rollout, RolloutEvent.STARTED, now)
    return rollout, meant


def _rollout(
    principal: Principal, asked: RolloutCreate, meant: Meant, rollout_id: str, now: float
) -> Rollout:
    spec = RolloutSpec.model_validate(
        asked.model_dump(exclude={"model", "version", "bundle_digest"})
    )
    spec.waves = meant.waves
    builds = meant.builds
    return Rollout(
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


def _build_entry(build: Build) -> dict[str, Any]:
    return build.model_dump(include={"digest", "manifest_bytes", "identity"})


def _created(meant: Meant) -> dict[str, Any]:
    """What the journal says of whom a rollout is meant for."""
    return {
        "devices": len(meant.devices),
        "waves": [len(ids) for ids in meant.assigned],
        "pinned": [pin.device_id for pin in meant.pinned[: plans.PLAN_DEVICES_MAX]],
        "pinned_count": len(meant.pinned),
    }


def _add_executions(
    session: Session, rollout: Rollout, assigned: Sequence[Sequence[str]], now: float
) -> None:
    """One attempt for each device, that waits; written at once, for there may be many."""
    queued = Execution(
        rollout_id=rollout.id,
        device_id="",
        attempt=1,
        wave=0,
        state=ExecutionState.QUEUED.value,
        step_at=now,
    ).model_dump()
    rows = [
        {**queued, "device_id": device_id, "wave": number}
        for number, wave in enumerate(assigned)
        for device_id in wave
    ]
    session.connection().execute(insert(Execution), rows)
