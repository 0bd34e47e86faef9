"""Tables of annotation: tasks and their append-only revisions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel


class AnnotationTask(SQLModel, table=True):
    """One image to label. Boxes are in pixels: [{"class_id", "box": [x1, y1, x2, y2]}]."""

    __tablename__ = "annotation_task"

    id: int | None = Field(default=None, primary_key=True)
    sample_id: str = Field(unique=True)
    device_id: str = Field(index=True)
    camera: str = Field(index=True)
    slot: str
    frame_id: str
    image_sha256: str = Field(index=True)
    width: int
    height: int
    class_names: list[str] = Field(sa_column=Column(JSON, nullable=False))
    predictions: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    reason: str
    selection_probability: float
    captured_at: float | None = None
    state: str = Field(index=True)
    boxes: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSON))
    annotated_by: str | None = None
    created_at: float
    updated_at: float


class AnnotationRevision(SQLModel, table=True):
    """What somebody said of a task's image, kept also when it is said anew."""

    __tablename__ = "annotation_revision"

    id: int | None = Field(default=None, primary_key=True)
    task_id: int = Field(foreign_key="annotation_task.id", index=True)
    at: float
    principal: str
    state: str
    boxes: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSON))
