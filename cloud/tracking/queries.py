"""Every SELECT of the mirror: whole pages at once, as it looks at all versions again and again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import Session, col, select

from cloud.registry.models import Artefact, Build, ModelAlias, ModelVersion
from cloud.tracking.models import TrackedVersion


def versions(session: Session, after: int, limit: int) -> Sequence[ModelVersion]:
    """Versions of all models by id, from the one after `after`."""
    return session.exec(
        select(ModelVersion)
        .where(col(ModelVersion.id) > after)
        .order_by(col(ModelVersion.id))
        .limit(limit)
    ).all()


def builds(session: Session, version_ids: Sequence[int]) -> Sequence[Build]:
    return session.exec(
        select(Build)
        .where(col(Build.version_id).in_(version_ids))
        .order_by(col(Build.created_at), col(Build.digest))
    ).all()


def artefacts(session: Session, version_ids: Sequence[int]) -> Sequence[Artefact]:
    return session.exec(
        select(Artefact)
        .where(col(Artefact.version_id).in_(version_ids))
        .order_by(col(Artefact.name))
    ).all()


def aliases(session: Session) -> Sequence[ModelAlias]:
    return session.exec(select(ModelAlias)).all()


def tracked(session: Session, server: str) -> Sequence[TrackedVersion]:
    return session.exec(select(TrackedVersion).where(TrackedVersion.server == server)).all()


def counts(session: Session, server: str) -> tuple[int, int, int]:
    """How many versions there are, how many were mirrored, how many fail."""
    here = col(TrackedVersion.server) == server
    known = col(TrackedVersion.version_id).in_(select(ModelVersion.id))
    rows = select(func.count()).select_from(TrackedVersion).where(here, known)
    failing = session.exec(rows.where(col(TrackedVersion.failures) > 0)).one()
    mirrored = session.exec(
        rows.where(
            col(TrackedVersion.failures) == 0, col(TrackedVersion.content_sha256).is_not(None)
        )
    ).one()
    return session.exec(select(func.count()).select_from(ModelVersion)).one(), mirrored, failing
