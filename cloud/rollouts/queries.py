"""Every SELECT of rollouts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.states import RolloutState
from protocol.states import ExecutionState

# A rollout in one of these gives nothing to any device any more, or not yet.
_IDLE = (RolloutState.CREATING, RolloutState.WAITING_FOR_APPROVAL, RolloutState.STOPPED)


def rollouts(
    session: Session, model: str | None, before: float | None, limit: int
) -> Sequence[Rollout]:
    """Newest first."""
    query = select(Rollout).order_by(col(Rollout.created_at).desc()).limit(limit)
    if model is not None:
        query = query.where(Rollout.model == model)
    if before is not None:
        query = query.where(col(Rollout.created_at) < before)
    return session.exec(query).all()


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


def prepared_of(
    session: Session, rollout_id: str, device_ids: Sequence[str]
) -> Sequence[Execution]:
    """Attempts of these devices that wait in PREPARED."""
    query = select(Execution).where(
        Execution.rollout_id == rollout_id,
        Execution.state == ExecutionState.PREPARED.value,
    )
    wanted = set(device_ids)
    return [row for row in session.exec(query).all() if row.device_id in wanted]


def device_count(session: Session, rollout_id: str) -> int:
    """How many devices the rollout is meant for."""
    query = select(func.count(func.distinct(col(Execution.device_id))))
    return session.exec(query.where(Execution.rollout_id == rollout_id)).one()


def devices_of_newer(session: Session, rollout: Rollout) -> set[str]:
    """Devices that a newer standing rollout for the same slot targets."""
    return set(
        session.exec(
            select(Execution.device_id)
            .join(Rollout, col(Rollout.id) == col(Execution.rollout_id))
            .where(
                Rollout.model == rollout.model,
                col(Rollout.created_at) > rollout.created_at,
                col(Rollout.state).not_in([state.value for state in _IDLE]),
            )
            .distinct()
        ).all()
    )
