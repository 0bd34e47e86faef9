"""Every SELECT of training."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.training.models import TrainingJob
from cloud.training.states import TERMINAL_JOB_STATES, JobState


def jobs(
    session: Session, state: JobState | None, before: float | None, limit: int
) -> Sequence[TrainingJob]:
    """Newest first."""
    query = select(TrainingJob).order_by(col(TrainingJob.created_at).desc()).limit(limit)
    if state is not None:
        query = query.where(TrainingJob.state == state.value)
    if before is not None:
        query = query.where(col(TrainingJob.created_at) < before)
    return session.exec(query).all()


def by_prefix(session: Session, prefix: str, limit: int) -> Sequence[TrainingJob]:
    """Trainings whose id begins so, `prefix` being hex digits."""
    return session.exec(
        select(TrainingJob)
        .where(col(TrainingJob.id).startswith(prefix))
        .order_by(col(TrainingJob.id))
        .limit(limit)
    ).all()


def next_queued(session: Session) -> TrainingJob | None:
    """The job that has waited longest."""
    return session.exec(
        select(TrainingJob)
        .where(TrainingJob.state == JobState.QUEUED.value)
        .order_by(col(TrainingJob.created_at))
    ).first()


def begun(session: Session) -> Sequence[TrainingJob]:
    """Jobs that a runner has begun and not ended."""
    others = [s.value for s in TERMINAL_JOB_STATES | {JobState.QUEUED}]
    return session.exec(select(TrainingJob).where(col(TrainingJob.state).not_in(others))).all()
