"""Tables of access: tokens and the audit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


class Token(SQLModel, table=True):
    """A bearer token, known only by its digest."""

    __tablename__ = "token"

    id: str = Field(primary_key=True)
    kind: str
    name: str = Field(index=True)
    role: str
    sha256: str = Field(unique=True)
    created_at: float
    revoked_at: float | None = None


class AuditEntry(SQLModel, table=True):
    """Who did what to what. Triggers refuse to change or delete a row."""

    __tablename__ = "audit"

    id: int | None = Field(default=None, primary_key=True)
    at: float = Field(index=True)
    principal_kind: str
    principal: str
    verb: str
    subject: str = Field(index=True)
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
