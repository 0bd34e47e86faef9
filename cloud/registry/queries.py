"""Every SELECT of the registry."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from cloud.registry.models import (
    Artefact,
    Build,
    Deployment,
    DetectorModel,
    ModelAlias,
    ModelVersion,
    Note,
    Promotion,
)


def models(
    session: Session, after: str | None, limit: int, *, archived: bool
) -> Sequence[DetectorModel]:
    query = select(DetectorModel).order_by(col(DetectorModel.name)).limit(limit)
    if not archived:
        query = query.where(col(DetectorModel.archived_at).is_(None))
    if after is not None:
        query = query.where(col(DetectorModel.name) > after)
    return session.exec(query).all()


def floors(session: Session) -> dict[str, int]:
    return dict(session.exec(select(DetectorModel.name, DetectorModel.floor)).all())


def versions(
    session: Session, model: str, after: int, limit: int | None, *, archived: bool
) -> Sequence[ModelVersion]:
    query = (
        select(ModelVersion)
        .where(ModelVersion.model == model, col(ModelVersion.number) > after)
        .order_by(col(ModelVersion.number))
        .limit(limit)
    )
    if not archived:
        query = query.where(col(ModelVersion.archived_at).is_(None))
    return session.exec(query).all()


def version(session: Session, model: str, number: int) -> ModelVersion | None:
    return session.exec(
        select(ModelVersion).where(ModelVersion.model == model, ModelVersion.number == number)
    ).first()


def children(session: Session, model: str, number: int) -> Sequence[int]:
    """Numbers of the versions that started from this one's weights."""
    return session.exec(
        select(ModelVersion.number)
        .where(ModelVersion.model == model, ModelVersion.parent == number)
        .order_by(col(ModelVersion.number))
    ).all()


def newest_version(session: Session, model: str) -> int:
    """The highest number of the model's versions as they are; 0 where there is none."""
    newest = session.exec(
        select(func.max(ModelVersion.number)).where(ModelVersion.model == model)
    ).one()
    return newest or 0


def highest_noted(session: Session, model: str) -> int:
    """The highest number of a version that a note is about; 0 where there is none."""
    prefix = f"model/{model}/"
    subjects = session.exec(
        select(Note.subject).where(col(Note.subject).startswith(prefix, autoescape=True)).distinct()
    ).all()
    return max((int(subject.removeprefix(prefix)) for subject in subjects), default=0)


def newest_number(session: Session, model: str) -> int:
    """The highest number that a version of the model ever had, by rows and by history; 0 where
    there was none."""
    found = [
        session.exec(select(func.max(column)).where(owner == model)).one()
        for column, owner in (
            (ModelVersion.number, ModelVersion.model),
            (Promotion.number, Promotion.model),
            (Deployment.number, Deployment.model),
        )
    ]
    return max(number or 0 for number in found)


def builds(session: Session, version_id: int) -> Sequence[Build]:
    return session.exec(
        select(Build)
        .where(Build.version_id == version_id)
        .order_by(col(Build.created_at), col(Build.digest))
    ).all()


def all_builds(session: Session) -> Sequence[Build]:
    return session.exec(select(Build).order_by(col(Build.created_at))).all()


def builds_by_prefix(session: Session, prefix: str, limit: int) -> Sequence[Build]:
    """Builds whose digest begins so, `prefix` being hex digits."""
    return session.exec(
        select(Build)
        .where(col(Build.digest).startswith(prefix))
        .order_by(col(Build.digest))
        .limit(limit)
    ).all()


def model_digests(session: Session, model: str) -> set[str]:
    return set(session.exec(select(Build.digest).where(Build.model == model)).all())


def aliases(session: Session, model: str) -> Sequence[ModelAlias]:
    return session.exec(
        select(ModelAlias).where(ModelAlias.model == model).order_by(col(ModelAlias.alias))
    ).all()


def promotions(session: Session, model: str) -> Sequence[Promotion]:
    """Oldest first."""
    return session.exec(
        select(Promotion).where(Promotion.model == model).order_by(col(Promotion.id))
    ).all()


def deployments(session: Session, model: str) -> Sequence[Deployment]:
    """Oldest first."""
    return session.exec(
        select(Deployment).where(Deployment.model == model).order_by(col(Deployment.id))
    ).all()


def notes(session: Session, subject: str) -> Sequence[Note]:
    """Oldest first."""
    return session.exec(select(Note).where(Note.subject == subject).order_by(col(Note.id))).all()


def artefacts(session: Session, version_id: int) -> Sequence[Artefact]:
    return session.exec(
        select(Artefact).where(Artefact.version_id == version_id).order_by(col(Artefact.name))
    ).all()


def artefact(session: Session, version_id: int, name: str) -> Artefact | None:
    return session.exec(
        select(Artefact).where(Artefact.version_id == version_id, Artefact.name == name)
    ).first()
