"""Table of blobs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


class BlobRow(SQLModel, table=True):
    """A blob that the store holds whole, with its chunk list ({offset, length, sha256})."""

    __tablename__ = "blob"

    sha256: str = Field(primary_key=True)
    size_bytes: int
    media_type: str = "application/octet-stream"
    chunks: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False)
    )
    created_at: float
