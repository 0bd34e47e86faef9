"""API shapes of annotation."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloud.annotation.models import AnnotationTask
from cloud.annotation.service import BOXES_MAX

Pixel = Annotated[float, Field(allow_inf_nan=False)]


class BoxBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    class_id: int
    box: tuple[Pixel, Pixel, Pixel, Pixel]


class AnnotationBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    boxes: list[BoxBody] = Field(max_length=BOXES_MAX)


class TaskView(BaseModel):
    id: int
    sample_id: str
    device_id: str
    camera: str
    slot: str
    frame_id: str
    image_url: str
    width: int
    height: int
    class_names: list[str]
    predictions: list[dict[str, Any]]
    reason: str
    selection_probability: float
    captured_at: float | None
    state: str
    boxes: list[dict[str, Any]] | None
    annotated_by: str | None
    updated_at: float

    @classmethod
    def of(cls, task: AnnotationTask) -> TaskView:
        return cls(
            **task.model_dump(exclude={"image_sha256", "created_at"}),
            image_url=f"/api/v1/annotation/tasks/{task.id}/image",
        )


class RevisionView(BaseModel):
    at: float
    principal: str
    state: str
    boxes: list[dict[str, Any]] | None
