"""Verbs of access: tokens, authentication, the audit."""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from cloud.access import queries
from cloud.access.models import AuditEntry, Token
from cloud.access.principal import Principal, PrincipalKind, Role, require
from cloud.errors import NotFoundError, UnauthenticatedError

TOKEN_PREFIX = "argosy_"  # noqa: S105 - lets scanners for leaked secrets find ours
TOKEN_BYTES = 32


def digest(token: str) -> str:
    """The sha256 by which a token is stored and looked up.

    A slow hash such as Argon2 makes guessing a *password* dear. A token is 256 bits from
    the system's random source: nobody guesses it, however fast the hash, and a plain
    digest can be looked up by index at every request.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def issue(session: Session, kind: PrincipalKind, name: str, role: Role) -> tuple[Token, str]:
    """A new token of `name`: the row, and the text that is shown this once."""
    text = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    row = Token(
        id=uuid.uuid4().hex,
        kind=kind.value,
        name=name,
        role=role.word,
        sha256=digest(text),
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    return row, text


def authenticate(session: Session, token: str) -> Principal:
    """Whose token it is. Raises UnauthenticatedError for one that is unknown or revoked."""
    row = queries.token_by_digest(session, digest(token))
    if row is None:
        raise UnauthenticatedError(
            "the token is unknown or revoked", "ask an administrator for a new one"
        )
    return Principal(PrincipalKind(row.kind), row.name, Role.of(row.role))


def create_token(
    session: Session, principal: Principal, name: str, role: Role, kind: PrincipalKind
) -> tuple[Token, str]:
    """A token for a person or a service. Tokens of devices come with their enrolment."""
    require(principal, Role.ADMINISTRATOR)
    row, text = issue(session, kind, name, role)
    audit(session, principal, "token.create", f"token/{row.id}", name=name, role=role.word)
    return row, text


def revoke_token(session: Session, principal: Principal, token_id: str) -> Token:
    """Make a token worthless at once. Raises NotFoundError where there is none."""
    require(principal, Role.ADMINISTRATOR)
    row = session.get(Token, token_id)
    if row is None:
        raise NotFoundError(f"there is no token {token_id}", "`argosy token list` shows them")
    if row.revoked_at is None:
        row.revoked_at = time.time()
        session.add(row)
        audit(session, principal, "token.revoke", f"token/{row.id}", name=row.name)
    return row


def revoke_of(session: Session, kind: PrincipalKind, name: str) -> None:
    """Revoke every standing token of one principal."""
    for row in queries.standing_tokens(session, kind.value, name):
        row.revoked_at = time.time()
        session.add(row)


def list_tokens(
    session: Session, principal: Principal, after: str | None, limit: int
) -> Sequence[Token]:
    require(principal, Role.ADMINISTRATOR)
    return queries.tokens(session, after, limit)


def audit(session: Session, principal: Principal, verb: str, subject: str, **detail: Any) -> None:
    """Record a deed, in the transaction that does it. Every mutating verb calls this."""
    session.add(
        AuditEntry(
            at=time.time(),
            principal_kind=principal.kind.value,
            principal=principal.name,
            verb=verb,
            subject=subject,
            detail=detail,
        )
    )


def deeds(session: Session, verb: str, subject: str) -> Sequence[AuditEntry]:
    """What was done to one thing by one verb, oldest first. The caller has checked who asks."""
    return queries.deeds(session, verb, subject)


def list_audit(
    session: Session, principal: Principal, subject: str | None, before: int | None, limit: int
) -> Sequence[AuditEntry]:
    """The audit, newest first."""
    require(principal, Role.OPERATOR)
    return queries.audit(session, subject, before, limit)
