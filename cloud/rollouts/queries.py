"""Every SELECT of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, tuple_, update
from sqlalchemy import select as columns
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from cloud.rollouts.models import (
    DevicePin,
    Execution,
    Rollout,
    RolloutEntry,
    RolloutGate,
)
from cloud.rollouts.planning.ranking import IDLE
from protocol.states import ExecutionState


def rollouts(
    session: Session, model: str | None, before: float | None, limit: int, prefix: str = ""
) -> Sequence[Rollout]:
    """Newest first; those whose id begins with `prefix`, in hex digits."""
    query = select(Rollout).order_by(col(Rollout.created_at).desc()).limit(limit)
    if model is not None:
        query = query.where(Rollout.model == model)
    if before is not None:
        query = query.where(col(Rollout.created_at) < before)
    return session.exec(query.where(col(Rollout.id).startswith(prefix))).all()


def watched(session: Session) -> Sequence[Rollout]:
    """Those that the engine looks at, oldest first."""
    return session.exec(
        select(Rollout).where(col(Rollout.watched)).order_by(col(Rollout.created_at))
    ).all()


def executions(session: Session, rollout_id: str) -> Sequence[Execution]:
    """Every attempt, by device and attempt."""
    return session.exec(
        select(Execution)
        .where(Execution.rollout_id == rollout_id)
        .order_by(col(Execution.device_id), col(Execution.attempt))
    ).all()


def executions_at(session: Session, keys: Sequence[tuple[str, str, int]]) -> Sequence[Execution]:
    """The attempts named by (rollout, device, attempt), as far as there are such."""
    e = Execution
    named = tuple_(col(e.rollout_id), col(e.device_id), col(e.attempt)).in_(keys)
    return session.exec(select(Execution).where(named)).all()


def device_count(session: Session, rollout_id: str) -> int:
    """How many devices the rollout is meant for."""
    query = select(func.count(func.distinct(col(Execution.device_id))))
    return session.exec(query.where(Execution.rollout_id == rollout_id)).one()


def latest_counts(session: Session, rollout_id: str) -> Sequence[tuple[int, str, bool, int]]:
    """(wave, state, reverts, devices), of every device's latest attempt."""
    last = (
        select(Execution.device_id, func.max(Execution.attempt).label("attempt"))
        .where(Execution.rollout_id == rollout_id)
        .group_by(col(Execution.device_id))
        .subquery()
    )
    query = (
        select(Execution.wave, Execution.state, Execution.reverts, func.count())
        .join(
            last,
            (col(Execution.device_id) == last.c.device_id)
            & (col(Execution.attempt) == last.c.attempt),
        )
        .where(Execution.rollout_id == rollout_id)
        .group_by(col(Execution.wave), col(Execution.state), col(Execution.reverts))
    )
    return [(wave, state, back, n) for wave, state, back, n in session.exec(query).all()]


def executions_page(
    session: Session,
    rollout_id: str,
    *,
    after: tuple[str, int] | None = None,
    limit: int,
    wave: int | None = None,
    state: str | None = None,
) -> Sequence[Execution]:
    """Attempts by device and attempt, from the one after `after` (device id, attempt)."""
    query = select(Execution).where(Execution.rollout_id == rollout_id)
    if after is not None:
        device_id, attempt = after
        query = query.where(
            (col(Execution.device_id) > device_id)
            | ((col(Execution.device_id) == device_id) & (col(Execution.attempt) > attempt))
        )
    if wave is not None:
        query = query.where(Execution.wave == wave)
    if state is not None:
        query = query.where(Execution.state == state)
    order = (col(Execution.device_id), col(Execution.attempt))
    return session.exec(query.order_by(*order).limit(limit)).all()


def attempts_of(session: Session, rollout_id: str, device_id: str) -> Sequence[Execution]:
    """One device's attempts, the first one first."""
    return session.exec(
        select(Execution)
        .where(Execution.rollout_id == rollout_id, Execution.device_id == device_id)
        .order_by(col(Execution.attempt))
    ).all()


def targeted_ids(session: Session, rollout_id: str) -> Sequence[str]:
    """Devices that the rollout is meant for."""
    query = select(Execution.device_id).where(Execution.rollout_id == rollout_id)
    return session.exec(query.distinct()).all()


def unacknowledged_ids(session: Session, rollout_id: str, states: Sequence[str]) -> Sequence[str]:
    """Devices with an attempt in one of `states`, or that has diverged, which nobody has
    acknowledged."""
    query = select(Execution.device_id).where(
        Execution.rollout_id == rollout_id,
        col(Execution.state).in_(states) | col(Execution.diverged).is_(True),
        col(Execution.acknowledged).is_(False),
    )
    return session.exec(query.distinct()).all()


def on_device(
    session: Session, device_id: str, model: str, states: Sequence[str]
) -> Sequence[tuple[Execution, Rollout]]:
    """A device's attempts of rollouts of `model` in one of `states`."""
    query = (
        select(Execution, Rollout)
        .join(Rollout, col(Rollout.id) == col(Execution.rollout_id))
        .where(
            Execution.device_id == device_id,
            Rollout.model == model,
            col(Execution.state).in_(states),
        )
    )
    return [(row, rollout) for row, rollout in session.exec(query).all()]


def gates(
    session: Session,
    rollout_id: str,
    *,
    wave: int | None = None,
    after: tuple[int, int] | None = None,
    limit: int,
) -> Sequence[RolloutGate]:
    """Looks at gates by wave and look, from the one after `after` (wave, look)."""
    query = select(RolloutGate).where(RolloutGate.rollout_id == rollout_id)
    if wave is not None:
        query = query.where(RolloutGate.wave == wave)
    if after is not None:
        query = query.where(
            (col(RolloutGate.wave) > after[0])
            | ((col(RolloutGate.wave) == after[0]) & (col(RolloutGate.look) > after[1]))
        )
    order = (col(RolloutGate.wave), col(RolloutGate.look))
    return session.exec(query.order_by(*order).limit(limit)).all()


def last_gate(session: Session, rollout_id: str, wave: int) -> RolloutGate | None:
    """The newest look at a wave's gate."""
    query = select(RolloutGate).where(
        RolloutGate.rollout_id == rollout_id, RolloutGate.wave == wave
    )
    return session.exec(query.order_by(col(RolloutGate.look).desc()).limit(1)).first()


def entries(session: Session, rollout_id: str, after: int, limit: int) -> Sequence[RolloutEntry]:
    """The journal, oldest first, from the entry after the id `after`."""
    return session.exec(
        select(RolloutEntry)
        .where(RolloutEntry.rollout_id == rollout_id, col(RolloutEntry.id) > after)
        .order_by(col(RolloutEntry.id))
        .limit(limit)
    ).all()


def wave_is_noted(session: Session, rollout_id: str, wave: int, kind: str = "wave") -> bool:
    """Whether the journal has an entry of that kind for the wave: that it opened, if no other."""
    entry = RolloutEntry
    query = select(entry.id).where(entry.rollout_id == rollout_id, entry.wave == wave)
    return session.exec(query.where(entry.kind == kind).limit(1)).first() is not None


def pins(
    session: Session,
    *,
    model: str | None = None,
    device_id: str | None = None,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
) -> Sequence[DevicePin]:
    """By device and model, from the one after `after`."""
    query = select(DevicePin)
    if model is not None:
        query = query.where(DevicePin.model == model)
    if device_id is not None:
        query = query.where(DevicePin.device_id == device_id)
    if after is not None:
        query = query.where(
            (col(DevicePin.device_id) > after[0])
            | ((col(DevicePin.device_id) == after[0]) & (col(DevicePin.model) > after[1]))
        )
    order = (col(DevicePin.device_id), col(DevicePin.model))
    return session.exec(query.order_by(*order).limit(limit)).all()


def acknowledge(session: Session, rollout_id: str, states: Sequence[str]) -> None:
    """Let no attempt in one of `states`, or that has diverged, count any more."""
    session.execute(
        update(Execution)
        .where(
            col(Execution.rollout_id) == rollout_id,
            col(Execution.state).in_(states) | col(Execution.diverged).is_(True),
            col(Execution.acknowledged).is_(False),
        )
        .values(acknowledged=True)
    )


class Head(NamedTuple):
    """What the engine reads of a rollout at every look: nothing that is large."""

    id: str
    model: str
    state: str
    priority: int
    created_at: float
    ended_at: float | None
    wave: int
    asks: str | None
    approved_waves: list[int]
    reverting: bool
    reason: str
    revision: int
    watched: bool


class Latest(NamedTuple):
    """Columns of a device's latest attempt."""

    device_id: str
    attempt: int
    wave: int
    state: str
    digest: str | None
    started_at: float | None
    step_at: float
    ended_at: float | None
    device_ended_at: float | None
    acknowledged: bool
    diverged: bool
    held: bool
    released_at: float | None
    shadow: str
    by_hand: bool
    reverts: bool


def heads(session: Session) -> list[Head]:
    """Of what the engine watches, and of what stands beside it and began later; oldest first."""
    watching = select(func.min(Rollout.created_at)).where(col(Rollout.watched)).scalar_subquery()
    query = (
        columns(*(getattr(Rollout, name) for name in Head._fields))
        .where(
            col(Rollout.watched)
            | ((col(Rollout.created_at) > watching) & col(Rollout.state).not_in(IDLE))
        )
        .order_by(col(Rollout.created_at))
    )
    return [Head(*row) for row in session.connection().execute(query)]


def is_any_under_way(session: Session) -> bool:
    """Whether a rollout is watched that has begun and has not ended."""
    query = select(Rollout.id).where(
        col(Rollout.watched),
        col(Rollout.ended_at).is_(None),
        col(Rollout.state).not_in(IDLE),
    )
    return session.exec(query.limit(1)).first() is not None


def latest(session: Session, rollout_id: str, device_ids: Sequence[str]) -> list[Latest]:
    """The latest attempt of each of these devices that is of the rollout."""
    query = (
        columns(*(getattr(Execution, name) for name in Latest._fields))
        .where(col(Execution.rollout_id) == rollout_id, col(Execution.device_id).in_(device_ids))
        .order_by(col(Execution.attempt))
    )
    rows = (Latest(*row) for row in session.connection().execute(query))
    return list({row.device_id: row for row in rows}.values())


def befores(session: Session, rollout_id: str, device_ids: Sequence[str]) -> dict[str, str | None]:
    """Device id → what its slot desired before the rollout."""
    query = (
        select(Execution.device_id, Execution.before)
        .where(Execution.rollout_id == rollout_id, col(Execution.device_id).in_(device_ids))
        .order_by(col(Execution.attempt))
    )
    return dict(session.exec(query).all())


def attempts_of_all(
    session: Session, rollout_id: str, device_ids: Sequence[str]
) -> Sequence[Execution]:
    """These devices' attempts in their order, kept from others until the transaction ends."""
    query = select(Execution).where(
        Execution.rollout_id == rollout_id, col(Execution.device_id).in_(device_ids)
    )
    return session.exec(query.order_by(col(Execution.attempt)).with_for_update()).all()


def pinned_on(session: Session, model: str, device_ids: Sequence[str]) -> dict[str, str]:
    """Device id → who pinned the model's slot there."""
    query = select(DevicePin.device_id, DevicePin.by)
    found = query.where(DevicePin.model == model, col(DevicePin.device_id).in_(device_ids))
    return dict(session.exec(found).all())


def looks_at_gate(session: Session, rollout_id: str, wave: int) -> Sequence[RolloutGate]:
    """Every look at a wave's gate without its figures, the first one first."""
    query = (
        select(RolloutGate)
        .options(defer(RolloutGate.figures))  # type: ignore[arg-type]
        .where(RolloutGate.rollout_id == rollout_id, RolloutGate.wave == wave)
        .order_by(col(RolloutGate.look))
    )
    return session.exec(query).all()


def attempts(session: Session, rollout_id: str, names: Sequence[str]) -> Sequence[tuple[Any, ...]]:
    """These columns of every attempt: of a large rollout they come many times faster than rows."""
    wanted = [getattr(Execution, name) for name in names]
    query = columns(*wanted).where(col(Execution.rollout_id) == rollout_id)
    return [tuple(row) for row in session.execute(query)]


class Gated(NamedTuple):
    """Columns of an attempt of a wave that has begun, as its gate reads them."""

    device_id: str
    attempt: int
    state: str
    digest: str | None
    before: str | None
    started_at: float | None
    exchanged_at: float | None
    by_hand: bool
    reverts: bool
    figures: dict[str, float]
    boots: int


def begun(session: Session, rollout_id: str, wave: int, limit: int) -> list[Gated]:
    """The latest attempt of each device of a wave that has begun one, by device."""
    query = (
        columns(*(getattr(Execution, name) for name in Gated._fields))
        .where(
            col(Execution.rollout_id) == rollout_id,
            col(Execution.wave) == wave,
            col(Execution.started_at).is_not(None),
        )
        .order_by(col(Execution.device_id), col(Execution.attempt))
        .limit(limit)
    )
    rows = (Gated(*row) for row in session.connection().execute(query))
    return list({row.device_id: row for row in rows}.values())


def waiting_after(session: Session, rollout_id: str, wave: int, limit: int) -> Sequence[str]:
    """Devices of later waves that have not begun, the next wave's first."""
    query = (
        select(Execution.device_id)
        .where(
            Execution.rollout_id == rollout_id,
            Execution.wave > wave,
            col(Execution.started_at).is_(None),
            Execution.state == ExecutionState.QUEUED.value,
        )
        .order_by(col(Execution.wave), col(Execution.device_id))
    )
    return session.exec(query.limit(limit)).all()
