"""HTTP of rollouts: /rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from sqlmodel import Session

from cloud.dependencies import PAGE_ITEMS_MAX, LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.rollouts import service
from cloud.rollouts.looking import waiting
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.schemas import (
    ExecutionView,
    RolloutCreated,
    RolloutPlan,
    RolloutSummary,
    RolloutView,
    WaveView,
)
from cloud.rollouts.spec import RolloutCreate

router = APIRouter(tags=["rollouts"])


@router.post("/rollouts", status_code=201)
def create(body: RolloutCreate, session: SessionDep, principal: PrincipalDep) -> RolloutCreated:
    """Begin a rollout. The answer names the devices for which there is no build."""
    rollout = service.create(session, principal, body)
    devices = service.plans(session, principal, rollout)
    plan = RolloutPlan.of(rollout.model, rollout.version, devices)
    return RolloutCreated(plan=plan, **_view(session, rollout).model_dump())


@router.post("/rollouts/preview")
def preview(body: RolloutCreate, session: SessionDep, principal: PrincipalDep) -> RolloutPlan:
    """What the rollout would bring to whom; nothing is created."""
    version, devices = service.preview(session, principal, body)
    return RolloutPlan.of(body.model, version, devices)


@router.get("/rollouts")
def list_rollouts(
    session: SessionDep,
    principal: PrincipalDep,
    model: str | None = None,
    cursor: float | None = None,
    limit: LimitDep = 100,
) -> Page[RolloutSummary]:
    rows = service.list_rollouts(session, principal, model, cursor, limit)
    items = [RolloutSummary(**row.model_dump()) for row in rows]
    return page(items, limit, repr(items[-1].created_at) if items else "")


@router.get("/rollouts/{rollout_id}")
def show(rollout_id: str, session: SessionDep, principal: PrincipalDep) -> RolloutView:
    return _view(session, service.get(session, principal, rollout_id))


@router.post("/rollouts/{rollout_id}/approve")
def approve(rollout_id: str, session: SessionDep, principal: PrincipalDep) -> RolloutView:
    return _view(session, service.approve(session, principal, rollout_id))


@router.post("/rollouts/{rollout_id}/pause")
def pause(rollout_id: str, session: SessionDep, principal: PrincipalDep) -> RolloutView:
    return _view(session, service.pause(session, principal, rollout_id))


@router.post("/rollouts/{rollout_id}/resume")
def resume(rollout_id: str, session: SessionDep, principal: PrincipalDep) -> RolloutView:
    return _view(session, service.resume(session, principal, rollout_id))


@router.post("/rollouts/{rollout_id}/cancel")
def cancel(rollout_id: str, session: SessionDep, principal: PrincipalDep) -> RolloutView:
    return _view(session, service.cancel(session, principal, rollout_id))


@router.post("/rollouts/{rollout_id}/devices/{device_id}/accept")
def accept(
    rollout_id: str, device_id: str, session: SessionDep, principal: PrincipalDep
) -> RolloutView:
    """Let a device go on whose shadow ended INCONCLUSIVE."""
    return _view(session, service.accept(session, principal, rollout_id, device_id))


def _view(session: Session, rollout: Rollout) -> RolloutView:
    rows = service.executions(session, rollout)
    latest = list({row.device_id: row for row in rows}.values())
    waves = rollout.spec["waves"]
    return RolloutView(
        waves=[_wave_view(wave, latest, number) for number, wave in enumerate(waves)],
        counts=dict(Counter(row.state for row in latest)),
        executions=[_execution_view(session, rollout, row) for row in rows[:PAGE_ITEMS_MAX]],
        **rollout.model_dump(),
    )


def _wave_view(wave: dict[str, Any], latest: Sequence[Execution], number: int) -> WaveView:
    states = [row.state for row in latest if row.wave == number]
    return WaveView(devices=len(states), counts=dict(Counter(states)), **wave)


def _execution_view(session: Session, rollout: Rollout, row: Execution) -> ExecutionView:
    shadow, waits_for = waiting(session, rollout, row)
    values = {**row.model_dump(), "shadow": shadow, "waits_for": waits_for}
    return ExecutionView(device=row.device_id, updated_at=row.step_at, **values)
