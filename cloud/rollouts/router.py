"""HTTP of rollouts: /rollouts, and pins of devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlmodel import Session

from cloud.answers import explained_by
from cloud.dependencies import PAGE_ITEMS_MAX, LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.errors import InvalidError
from cloud.fleet import facts as fleet_facts
from cloud.fleet.schemas import DesiredChange, Generation
from cloud.lots import lots
from cloud.rollouts import service
from cloud.rollouts.models import DevicePin, Execution, Rollout
from cloud.rollouts.naming import RolloutIdDep
from cloud.rollouts.request.spec import SHOWN_BY, RolloutCreate
from cloud.rollouts.running.looking import waiting
from cloud.rollouts.schemas import (
    AbortAsked,
    ApproveAsked,
    ExecutionView,
    ForceAsked,
    GateLook,
    JournalEntry,
    PinAsked,
    PinView,
    Remarked,
    RolloutCreated,
    RolloutPlan,
    RolloutSummary,
    RolloutView,
    Unpinned,
    WaveView,
)
from protocol.states import ExecutionState

router = APIRouter(tags=["rollouts"])

UNREMARKED, UNSAID = Remarked(), ApproveAsked()
EXPLAINED = [Depends(explained_by(SHOWN_BY))]
WaveDep = Annotated[int | None, Query(ge=0)]


@router.post("/rollouts", status_code=201, dependencies=EXPLAINED)
def create(body: RolloutCreate, session: SessionDep, principal: PrincipalDep) -> RolloutCreated:
    """Begin a rollout. The answer names the devices for which there is no build."""
    rollout, plan = service.create_with_plan(session, principal, body)
    return RolloutCreated(plan=plan, **_view(session, rollout).model_dump())


@router.post("/rollouts/preview", dependencies=EXPLAINED)
def preview(body: RolloutCreate, session: SessionDep, principal: PrincipalDep) -> RolloutPlan:
    """What the rollout would bring to whom; nothing is created."""
    return service.preview(session, principal, body)


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
def show(rollout_id: RolloutIdDep, session: SessionDep, principal: PrincipalDep) -> RolloutView:
    return _view(session, service.get(session, principal, rollout_id))


@router.get("/rollouts/{rollout_id}/executions")
def list_executions(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    *,
    wave: WaveDep = None,
    state: ExecutionState | None = None,
    cursor: str | None = None,
    limit: LimitDep = 100,
) -> Page[ExecutionView]:
    """Every attempt of every device, by device and attempt."""
    rollout = service.get(session, principal, rollout_id)
    rows = service.executions_page(
        session,
        principal,
        rollout_id,
        after=None if cursor is None else _named_and_number(cursor),
        limit=limit,
        wave=wave,
        state=None if state is None else state.value,
    )
    items = [_execution_view(session, rollout, row) for row in rows]
    return page(items, limit, f"{items[-1].device}:{items[-1].attempt}" if items else "")


@router.get("/rollouts/{rollout_id}/gates")
def list_gates(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    *,
    wave: WaveDep = None,
    cursor: str | None = None,
    limit: LimitDep = 100,
) -> Page[GateLook]:
    """Every look at a gate with its figures, by wave and look."""
    after = None
    if cursor is not None:
        first, look = _named_and_number(cursor)
        after = (_number(first), look)
    rows = service.gates(session, principal, rollout_id, wave=wave, after=after, limit=limit)
    items = [GateLook(**row.model_dump()) for row in rows]
    return page(items, limit, f"{items[-1].wave}:{items[-1].look}" if items else "")


@router.get("/rollouts/{rollout_id}/journal")
def read_journal(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> Page[JournalEntry]:
    """What people and the engine did, and why; oldest first."""
    rows = service.journal(session, principal, rollout_id, after=cursor, limit=limit)
    items = [JournalEntry(**row.model_dump()) for row in rows]
    return page(items, limit, str(items[-1].id) if items else "")


@router.post("/rollouts/{rollout_id}/approve")
def approve(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    body: ApproveAsked = UNSAID,
) -> RolloutView:
    """Answer what the rollout asks: to begin, to open its next wave, to pass a gate."""
    return _view(session, service.approve(session, principal, rollout_id, body.remark, body.asks))


@router.post("/rollouts/{rollout_id}/pause")
def pause(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    body: Remarked = UNREMARKED,
) -> RolloutView:
    return _view(session, service.pause(session, principal, rollout_id, body.remark))


@router.post("/rollouts/{rollout_id}/resume")
def resume(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    body: Remarked = UNREMARKED,
) -> RolloutView:
    """Go on; the failures seen so far count no more."""
    return _view(session, service.resume(session, principal, rollout_id, body.remark))


@router.post("/rollouts/{rollout_id}/cancel")
def cancel(
    rollout_id: RolloutIdDep,
    session: SessionDep,
    principal: PrincipalDep,
    body: Remarked = UNREMARKED,
) -> RolloutView:
    """Give up what has not been exchanged; the rest keeps the build."""
    return _view(session, service.cancel(session, principal, rollout_id, body.remark))


@router.post("/rollouts/{rollout_id}/abort")
def abort(
    rollout_id: RolloutIdDep, body: AbortAsked, session: SessionDep, principal: PrincipalDep
) -> RolloutView:
    """Give it up, and keep what has been exchanged or bring back what was before."""
    return _view(
        session,
        service.abort(session, principal, rollout_id, revert=body.revert, remark=body.remark),
    )


@router.post("/rollouts/{rollout_id}/force")
def force(
    rollout_id: RolloutIdDep, body: ForceAsked, session: SessionDep, principal: PrincipalDep
) -> RolloutView:
    """Open the next wave, or let the last one finish, whatever its gate says."""
    return _view(session, service.force(session, principal, rollout_id, body.remark, body.wave))


@router.post("/rollouts/{rollout_id}/devices/{device_id}/accept")
def accept(
    rollout_id: RolloutIdDep,
    device_id: str,
    session: SessionDep,
    principal: PrincipalDep,
    body: Remarked = UNREMARKED,
) -> RolloutView:
    """Let a device go on whose shadow ended INCONCLUSIVE."""
    return _view(session, service.accept(session, principal, rollout_id, device_id, body.remark))


@router.get("/pins")
def list_pins(
    session: SessionDep,
    principal: PrincipalDep,
    *,
    model: str | None = None,
    device: str | None = None,
    cursor: str | None = None,
    limit: LimitDep = 100,
) -> Page[PinView]:
    """By device and model."""
    after = None
    if cursor is not None:
        device_id, _, name = cursor.partition(":")
        after = (device_id, name)
    rows = service.pins(session, principal, model=model, device_id=device, after=after, limit=limit)
    items = _pin_views(session, rows)
    return page(items, limit, f"{items[-1].device}:{items[-1].model}" if items else "")


@router.put("/devices/{device_id}/pins/{model}")
def pin(
    device_id: str, model: str, body: PinAsked, session: SessionDep, principal: PrincipalDep
) -> PinView:
    """Hold a device's slot at a build: no rollout touches it."""
    row = service.pin(
        session,
        principal,
        device_id,
        model,
        version=body.version,
        digest=body.bundle_digest,
        remark=body.remark,
    )
    return _pin_views(session, [row])[0]


@router.delete("/devices/{device_id}/pins/{model}")
def unpin(
    device_id: str,
    model: str,
    session: SessionDep,
    principal: PrincipalDep,
    remark: Annotated[str, Query(max_length=2048)] = "",
) -> Unpinned:
    """Let rollouts have the slot again, and bring back what was desired before."""
    restored, reason = service.unpin(session, principal, device_id, model, remark.strip())
    return Unpinned(device=device_id, model=model, restored=restored, reason=reason)


@router.put("/devices/{device_id}/desired")
def change_desired(
    device_id: str, body: DesiredChange, session: SessionDep, principal: PrincipalDep
) -> Generation:
    """Refused for a slot that is pinned."""
    generation = service.change_desired(session, principal, device_id, body)
    return Generation(device_id=device_id, desired_generation=generation)


@router.delete("/groups/{name}", status_code=204)
def delete_group(name: str, session: SessionDep, principal: PrincipalDep) -> None:
    """Refused while a continuous rollout takes devices by it."""
    service.delete_group(session, principal, name)


def _view(session: Session, rollout: Rollout) -> RolloutView:
    counts = service.wave_counts(session, rollout)
    rows = service.first_executions(session, rollout, PAGE_ITEMS_MAX)
    judged = rollout.spec.get("gates") is not None
    return RolloutView(
        waves=[
            WaveView(
                **{**wave, "gated": judged and wave.get("gated", True)},
                devices=count.total(),
                counts=dict(count),
            )
            for wave, count in zip(rollout.spec["waves"], counts, strict=True)
        ],
        counts=dict(sum(counts, start=Counter[str]())),
        executions=[_execution_view(session, rollout, row) for row in rows],
        **rollout.model_dump(),
    )


def _execution_view(session: Session, rollout: Rollout, row: Execution) -> ExecutionView:
    shadow, waits_for, reason = waiting(session, rollout, row)
    said = {"shadow": shadow, "waits_for": waits_for, "reason": reason}
    values = {**row.model_dump(), **said}
    return ExecutionView(device=row.device_id, updated_at=row.step_at, **values)


def _pin_views(session: Session, rows: Sequence[DevicePin]) -> list[PinView]:
    ids = sorted({row.device_id for row in rows})
    known = [one for some in lots(ids) for one in fleet_facts.facts(session, some)]
    running = {one.id: one.running for one in known}
    return [
        PinView(
            device=row.device_id,
            running=running[row.device_id].get(row.model),
            **row.model_dump(),
        )
        for row in rows
    ]


def _named_and_number(cursor: str) -> tuple[str, int]:
    """A cursor `NAME:NUMBER`."""
    name, _, number = cursor.rpartition(":")
    return name, _number(number)


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise InvalidError("cursor: it is none of this list", "take it from `next` of a page")
    return int(text)
