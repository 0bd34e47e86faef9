"""Tables of the registry: models, versions, builds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel


class DetectorModel(SQLModel, table=True):
    """A named detector and what it tells apart."""

    __tablename__ = "model"

    name: str = Field(primary_key=True)
    class_names: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    created_by: str


class ModelVersion(SQLModel, table=True):
    """One trained result of a model: immutable, with where it comes from.

    Attributes:
        parent: number of the version whose weights it started from.
        lineage: parameters, seed, code and library versions, times.
        metrics: of the first build, as evaluated.
    """

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(foreign_key="model.name", index=True)
    number: int
    parent: int | None = None
    dataset: str
    dataset_version: int
    dataset_digest: str
    weights_sha256: str
    weights_bytes: int
    lineage: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    metrics: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    created_by: str


class Build(SQLModel, table=True):
    """One bundle of a version; its digest is its manifest's and the manifest blob's."""

    __tablename__ = "build"

    digest: str = Field(primary_key=True)
    version_id: int = Field(foreign_key="model_version.id", index=True)
    model: str = Field(index=True)
    number: int
    identity: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    state: str
    metrics: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    size_bytes: int
    manifest_bytes: int
    created_at: float
