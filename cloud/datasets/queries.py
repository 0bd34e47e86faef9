"""Every SELECT of datasets."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.datasets.models import Dataset, DatasetImport, DatasetVersion
from cloud.datasets.states import ImportState


def datasets(session: Session, after: str | None, limit: int) -> Sequence[Dataset]:
    query = select(Dataset).order_by(col(Dataset.name)).limit(limit)
    if after is not None:
        query = query.where(col(Dataset.name) > after)
    return session.exec(query).all()


def versions(session: Session, name: str, after: int, limit: int) -> Sequence[DatasetVersion]:
    return session.exec(
        select(DatasetVersion)
        .where(DatasetVersion.dataset == name, col(DatasetVersion.number) > after)
        .order_by(col(DatasetVersion.number))
        .limit(limit)
    ).all()


def version(session: Session, name: str, number: int) -> DatasetVersion | None:
    return session.exec(
        select(DatasetVersion).where(
            DatasetVersion.dataset == name, DatasetVersion.number == number
        )
    ).first()


def newest_version(session: Session, name: str) -> DatasetVersion | None:
    return session.exec(
        select(DatasetVersion)
        .where(DatasetVersion.dataset == name)
        .order_by(col(DatasetVersion.number).desc())
    ).first()


def imports(session: Session, after: float | None, limit: int) -> Sequence[DatasetImport]:
    """Newest first."""
    query = select(DatasetImport).order_by(col(DatasetImport.created_at).desc()).limit(limit)
    if after is not None:
        query = query.where(col(DatasetImport.created_at) < after)
    return session.exec(query).all()


def unfinished_imports(session: Session) -> Sequence[DatasetImport]:
    unfinished = [ImportState.QUEUED.value, ImportState.RUNNING.value]
    return session.exec(select(DatasetImport).where(col(DatasetImport.state).in_(unfinished))).all()
