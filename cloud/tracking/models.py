"""Table of what has been mirrored to an MLflow server."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class TrackedVersion(SQLModel, table=True):
    """How far a version's mirror is on one server.

    Attributes:
        content_sha256: of what was mirrored last; another digest means there is news.
        failures: in a row.
    """

    __tablename__ = "tracked_version"

    version_id: int = Field(primary_key=True)
    server: str = Field(primary_key=True)
    run_id: str | None = None
    model_version: str | None = None
    content_sha256: str | None = None
    failures: int = 0
    error: str | None = None
    at: float
