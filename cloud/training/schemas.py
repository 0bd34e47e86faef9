"""API shapes of training."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloud.training.models import TrainingJob
from cloud.training.parameters import TrainingParameters

TagText = Annotated[str, Field(max_length=256)]


class JobCreate(BaseModel):
    """`weights` is `scratch`, `parent`, or the path of a .pt file on the hub's machine."""

    model_config = ConfigDict(extra="forbid")

    model: str
    dataset: str
    dataset_version: int | None = Field(default=None, ge=1)
    weights: str = Field(default="scratch", max_length=4096)
    parent_version: int | None = Field(default=None, ge=1)
    parameters: TrainingParameters = TrainingParameters()
    tags: dict[TagText, TagText] = Field(default_factory=dict, max_length=64)


class VersionRef(BaseModel):
    model: str
    number: int


class JobView(BaseModel):
    id: str
    model: str
    dataset: str
    dataset_version: int
    weights: str
    parent_version: int | None
    parameters: dict[str, Any]
    tags: dict[str, str]
    state: str
    progress: dict[str, Any]
    error: str | None
    version: VersionRef | None
    created_at: float
    created_by: str
    started_at: float | None
    training_ended_at: float | None
    ended_at: float | None

    @classmethod
    def of(cls, job: TrainingJob) -> JobView:
        fields = set(cls.model_fields) - {"version"}
        ref = None if job.version is None else VersionRef(model=job.model, number=job.version)
        return cls(**job.model_dump(include=fields), version=ref)
