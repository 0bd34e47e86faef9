"""Every SELECT of the registry."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from cloud.registry.models import Build, DetectorModel, ModelVersion


def models(session: Session, after: str | None, limit: int) -> Sequence[DetectorModel]:
    query = select(DetectorModel).order_by(col(DetectorModel.name)).limit(limit)
    if after is not None:
        query = query.where(col(DetectorModel.name) > after)
    return session.exec(query).all()


def versions(session: Session, model: str, after: int, limit: int) -> Sequence[ModelVersion]:
    return session.exec(
        select(ModelVersion)
        .where(ModelVersion.model == model, col(ModelVersion.number) > after)
        .order_by(col(ModelVersion.number))
        .limit(limit)
    ).all()


def version(session: Session, model: str, number: int) -> ModelVersion | None:
    return session.exec(
        select(ModelVersion).where(ModelVersion.model == model, ModelVersion.number == number)
    ).first()


def newest_number(session: Session, model: str) -> int:
    """The highest version number of the model, 0 where it has none."""
    return (
        session.exec(select(func.max(ModelVersion.number)).where(ModelVersion.model == model)).one()
        or 0
    )


def builds(session: Session, version_id: int) -> Sequence[Build]:
    return session.exec(
        select(Build).where(Build.version_id == version_id).order_by(col(Build.created_at))
    ).all()


def all_builds(session: Session) -> Sequence[Build]:
    return session.exec(select(Build).order_by(col(Build.created_at))).all()
