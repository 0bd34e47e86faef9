"""Every SELECT of annotation."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.annotation.models import AnnotationRevision, AnnotationTask
from cloud.annotation.states import TaskState


def task_of_sample(session: Session, sample_id: str) -> AnnotationTask | None:
    return session.exec(select(AnnotationTask).where(AnnotationTask.sample_id == sample_id)).first()


def tasks(
    session: Session, state: TaskState | None, camera: str | None, after: int, limit: int
) -> Sequence[AnnotationTask]:
    """Oldest first."""
    query = select(AnnotationTask).where(col(AnnotationTask.id) > after)
    if state is not None:
        query = query.where(AnnotationTask.state == state.value)
    if camera is not None:
        query = query.where(AnnotationTask.camera == camera)
    return session.exec(query.order_by(col(AnnotationTask.id)).limit(limit)).all()


def done_tasks(session: Session, cameras: Sequence[str]) -> Sequence[AnnotationTask]:
    """All that are labelled, oldest first; of all cameras where none is named."""
    query = select(AnnotationTask).where(AnnotationTask.state == TaskState.DONE.value)
    if cameras:
        query = query.where(col(AnnotationTask.camera).in_(cameras))
    return session.exec(query.order_by(col(AnnotationTask.id))).all()


def revisions(session: Session, task_id: int) -> Sequence[AnnotationRevision]:
    return session.exec(
        select(AnnotationRevision)
        .where(AnnotationRevision.task_id == task_id)
        .order_by(col(AnnotationRevision.id))
    ).all()
