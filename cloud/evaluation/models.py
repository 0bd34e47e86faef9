"""Table of evaluations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel


class Evaluation(SQLModel, table=True):
    """One build's run over one set of images, as shipped. Never changed.

    Attributes:
        kind: `golden`, `robustness` or `recent`.
        images_sha256: over the digests of the images, sorted, one a line.
        predictions_sha256: the blob with what was seen, JSON lines under gzip, so that a later
            question needs no second run.
    """

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("build", "kind", "images_sha256"),)

    id: str = Field(primary_key=True)
    build: str = Field(foreign_key="build.digest", index=True)
    kind: str
    dataset_digest: str
    images_sha256: str
    images: int
    metrics: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    predictions_sha256: str | None = None
    created_at: float
