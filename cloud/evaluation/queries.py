"""Every SELECT of evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.evaluation.models import Evaluation


def evaluations(session: Session, build: str) -> Sequence[Evaluation]:
    """Of a build, oldest first."""
    return session.exec(
        select(Evaluation).where(Evaluation.build == build).order_by(col(Evaluation.created_at))
    ).all()


def of_builds(session: Session, builds: Sequence[str]) -> Sequence[Evaluation]:
    return session.exec(
        select(Evaluation)
        .where(col(Evaluation.build).in_(builds))
        .order_by(col(Evaluation.created_at), col(Evaluation.id))
    ).all()


def newest(session: Session, build: str, kind: str, images_sha256: str | None) -> Evaluation | None:
    """The newest of a kind; over exactly these images where they are named."""
    query = select(Evaluation).where(Evaluation.build == build, Evaluation.kind == kind)
    if images_sha256 is not None:
        query = query.where(Evaluation.images_sha256 == images_sha256)
    return session.exec(query.order_by(col(Evaluation.created_at).desc())).first()
