"""Table of training jobs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


class TrainingJob(SQLModel, table=True):
    """One training, from the queue to the version that came of it.

    Attributes:
        weights: `scratch`, `parent`, or the path of a checkpoint on the hub's machine.
        progress: the last line of the child, coalesced.
        log: the end of the child's output, kept once its folder is gone.
        version: number of the registered version.
    """

    __tablename__ = "training_job"

    id: str = Field(primary_key=True)
    model: str = Field(foreign_key="model.name", index=True)
    dataset: str
    dataset_version: int
    weights: str
    parent_version: int | None = None
    parameters: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    tags: dict[str, str] = Field(sa_column=Column(JSON, nullable=False))
    state: str = Field(index=True)
    cancel_requested: bool = False
    progress: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    error: str | None = None
    log: str = ""
    version: int | None = None
    created_at: float = Field(index=True)
    created_by: str
    started_at: float | None = None
    training_ended_at: float | None = None
    ended_at: float | None = None
