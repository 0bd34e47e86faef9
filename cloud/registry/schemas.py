"""API shapes of the registry."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloud.registry.models import Build, ModelVersion
from protocol.bundles import CLASSES_MAX

ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=128)]


class ModelCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: ModelName
    class_names: list[ClassName] = Field(min_length=1, max_length=CLASSES_MAX)


class ModelView(BaseModel):
    name: str
    class_names: list[str]
    created_at: float
    created_by: str


class BuildView(BaseModel):
    digest: str
    model: str
    number: int
    identity: dict[str, Any]
    state: str
    metrics: dict[str, Any]
    size_bytes: int
    manifest_bytes: int
    created_at: float


class DatasetRef(BaseModel):
    name: str
    number: int
    digest: str


class VersionView(BaseModel):
    model: str
    number: int
    state: str
    parent: int | None
    dataset_version: DatasetRef
    lineage: dict[str, Any]
    metrics: dict[str, Any]
    weights_bytes: int
    created_at: float
    created_by: str
    builds: list[BuildView]

    @classmethod
    def of(cls, version: ModelVersion, builds: list[Build]) -> VersionView:
        """A version stands as its best build does."""
        standing = [b.state for b in builds if b.state == "EVALUATED"]
        return cls(
            **version.model_dump(include=set(cls.model_fields) - {"dataset_version"}),
            state=standing[0] if standing else "REJECTED",
            dataset_version=DatasetRef(
                name=version.dataset,
                number=version.dataset_version,
                digest=version.dataset_digest,
            ),
            builds=[BuildView(**b.model_dump()) for b in builds],
        )


class RejectBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500)
