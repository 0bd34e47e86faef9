"""Every SELECT of access."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from cloud.access.models import AuditEntry, Token


def token_by_digest(session: Session, sha256: str) -> Token | None:
    return session.exec(
        select(Token).where(Token.sha256 == sha256, col(Token.revoked_at).is_(None))
    ).first()


def tokens(session: Session, after: str | None, limit: int) -> Sequence[Token]:
    query = select(Token).order_by(col(Token.id)).limit(limit)
    if after is not None:
        query = query.where(col(Token.id) > after)
    return session.exec(query).all()


def standing_tokens(session: Session, kind: str, name: str) -> Sequence[Token]:
    return session.exec(
        select(Token).where(Token.kind == kind, Token.name == name, col(Token.revoked_at).is_(None))
    ).all()


def audit(
    session: Session, subject: str | None, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    """Newest first."""
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(limit)
    if subject is not None:
        query = query.where(AuditEntry.subject == subject)
    if before is not None:
        query = query.where(col(AuditEntry.id) < before)
    return session.exec(query).all()


def deeds(session: Session, verb: str, subject: str) -> Sequence[AuditEntry]:
    """Oldest first."""
    return session.exec(
        select(AuditEntry)
        .where(AuditEntry.subject == subject, AuditEntry.verb == verb)
        .order_by(col(AuditEntry.id))
    ).all()
