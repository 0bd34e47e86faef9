"""Tables of datasets: names, immutable versions, imports."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint
from sqlmodel import Field, SQLModel


class Dataset(SQLModel, table=True):
    """A named line of versions.

    Attributes:
        golden_frames_released: its golden images may travel to every site inside of bundles.
    """

    __tablename__ = "dataset"

    name: str = Field(primary_key=True)
    golden_frames_released: bool = False
    created_at: float
    created_by: str


class DatasetVersion(SQLModel, table=True):
    """What a dataset held at one time. The digest names the manifest, which is a blob.

    Attributes:
        counts: images of each split.
        left_out: [{"image", "near", "distance", "reason"}], near images across a boundary.
    """

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("dataset", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    dataset: str = Field(foreign_key="dataset.name", index=True)
    number: int
    digest: str = Field(index=True)
    parent: int | None = None
    class_names: list[str] = Field(sa_column=Column(JSON, nullable=False))
    counts: dict[str, int] = Field(sa_column=Column(JSON, nullable=False))
    left_out: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    created_by: str


class DatasetImport(SQLModel, table=True):
    """One import of a folder, running in the background."""

    __tablename__ = "dataset_import"

    id: str = Field(primary_key=True)
    dataset: str = Field(index=True)
    folder: str
    model: str | None = None
    golden_frames_released: bool = False
    state: str = Field(index=True)
    images_done: int = 0
    images_total: int = 0
    error: str | None = None
    version: int | None = None
    created_at: float
    created_by: str
    ended_at: float | None = None
