"""Every SELECT of jobs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.jobs.models import Job
from cloud.jobs.states import JobState


def jobs(
    session: Session,
    *,
    kind: str | None,
    state: JobState | None,
    subject: str | None,
    before: float | None,
    limit: int,
) -> Sequence[Job]:
    """Newest first."""
    query = select(Job).order_by(col(Job.created_at).desc()).limit(limit)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if state is not None:
        query = query.where(Job.state == state.value)
    if subject is not None:
        query = query.where(Job.subject == subject)
    if before is not None:
        query = query.where(col(Job.created_at) < before)
    return session.exec(query).all()


def by_prefix(session: Session, prefix: str, limit: int) -> Sequence[Job]:
    """Jobs whose id begins so, `prefix` being hex digits."""
    return session.exec(
        select(Job).where(col(Job.id).startswith(prefix)).order_by(col(Job.id)).limit(limit)
    ).all()


def next_due(session: Session, kinds: Sequence[str], now: float) -> Job | None:
    """The job that has waited longest."""
    return session.exec(
        select(Job)
        .where(
            Job.state == JobState.QUEUED.value,
            col(Job.kind).in_(kinds),
            col(Job.not_before) <= now,
        )
        .order_by(col(Job.created_at))
    ).first()


def running(session: Session) -> Sequence[Job]:
    return session.exec(select(Job).where(Job.state == JobState.RUNNING.value)).all()


def open_of(session: Session, subject: str) -> Sequence[Job]:
    """Jobs about `subject` that have not ended."""
    waiting = [JobState.QUEUED.value, JobState.RUNNING.value]
    return session.exec(
        select(Job).where(Job.subject == subject, col(Job.state).in_(waiting))
    ).all()


def open_below(session: Session, subject: str) -> Sequence[Job]:
    """Jobs about what is part of `subject` that have not ended: `model/caps` has `model/caps/3`."""
    waiting = [JobState.QUEUED.value, JobState.RUNNING.value]
    return session.exec(
        select(Job).where(
            col(Job.subject).startswith(f"{subject}/", autoescape=True),
            col(Job.state).in_(waiting),
        )
    ).all()
