"""API shapes of datasets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.datasets.manifest import WEIGHT_MAX

DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class ImportBody(BaseModel):
    """`folder` lies on the hub's machine. `model` is made with the folder's classes."""

    model_config = ConfigDict(extra="forbid")

    folder: str = Field(min_length=1, max_length=4096)
    model: DatasetName | None = None
    golden_frames_released: bool = False


class ImportView(BaseModel):
    id: str
    dataset: str
    folder: str
    model: str | None
    state: str
    images_done: int
    images_total: int
    error: str | None
    version: int | None
    created_at: float
    created_by: str
    ended_at: float | None


class DatasetView(BaseModel):
    name: str
    golden_frames_released: bool
    created_at: float
    created_by: str


class LeftOutView(BaseModel):
    image: str
    near: str
    distance: int
    reason: str


class VersionView(BaseModel):
    name: str
    number: int
    digest: str
    class_names: list[str]
    counts: dict[str, int]
    left_out: list[LeftOutView]
    parent: int | None
    created_at: float
    created_by: str


class TagView(BaseModel):
    """How many images carry a tag; the camera counts as one.

    Attributes:
        images: of all its values together.
        values: how many different ones there are.
        counts: images of each value, of the most frequent ones where there are many.
    """

    tag: str
    images: int
    values: int
    counts: dict[str, int]


class VersionCreate(BaseModel):
    """A version out of `parent` (or the newest) and annotated samples."""

    model_config = ConfigDict(extra="forbid")

    parent: int | None = Field(default=None, ge=1)
    add_annotations: Literal[True] = True
    cameras: list[str] = Field(default_factory=list, max_length=1000)
    repeat: int = Field(default=1, ge=1, le=WEIGHT_MAX)
