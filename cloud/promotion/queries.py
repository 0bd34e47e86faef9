"""Every SELECT of promotion."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.promotion.models import Evidence


def evidence_of(
    session: Session, model: str, before: float | None, limit: int
) -> Sequence[Evidence]:
    """Of a model, newest first."""
    query = select(Evidence).where(Evidence.model == model)
    if before is not None:
        query = query.where(col(Evidence.at) < before)
    return session.exec(query.order_by(col(Evidence.at).desc()).limit(limit)).all()


def newest_for(
    session: Session, model: str, candidate: int, alias: str, incumbent: int | None
) -> Evidence | None:
    """The newest of a candidate against exactly this incumbent."""
    return session.exec(
        select(Evidence)
        .where(
            Evidence.model == model,
            Evidence.candidate == candidate,
            Evidence.alias == alias,
            Evidence.incumbent == incumbent,
        )
        .order_by(col(Evidence.at).desc())
    ).first()
