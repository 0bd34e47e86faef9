"""The content of a dataset version, canonical, so that its digest names it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cloud.datasets.boxes import LabelBox
from cloud.datasets.splits import Candidate, Split
from protocol.chunks import Sha256, sha256_hex

WEIGHT_MAX = 100
TAGS_MAX = 16
TAG_CHARACTERS_MAX = 64
COPIES_NAMED_MAX = 5

Tag = Annotated[str, Field(min_length=1, max_length=TAG_CHARACTERS_MAX)]


class Item(BaseModel):
    """One labelled image.

    Attributes:
        boxes: in shares of the image.
        difference_hash: hexadecimal, so that later versions find near images without
            decoding this one again.
        source: where it came from: `import:<file>` or `annotation:<task>`.
        weight: how often training sees it in an epoch.
        tags: where it comes from, such as site and line; evaluations are sliced by them.
    """

    model_config = ConfigDict(frozen=True)

    image: Sha256
    size_bytes: int = Field(gt=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    suffix: str
    split: Split
    boxes: tuple[LabelBox, ...]
    difference_hash: str
    source: str
    camera: str | None = None
    captured_at: float | None = None
    weight: int = Field(default=1, ge=1, le=WEIGHT_MAX)
    tags: dict[Tag, Tag] | None = Field(default=None, min_length=1, max_length=TAGS_MAX)

    def candidate(self) -> Candidate:
        return Candidate(
            self.source, bytes.fromhex(self.difference_hash), self.camera, self.captured_at
        )


class DatasetManifest(BaseModel):
    """Everything of a version: whoever holds it and the blobs can train again."""

    model_config = ConfigDict(frozen=True)

    format_version: Literal[1] = 1
    class_names: tuple[Annotated[str, Field(min_length=1)], ...]
    parent: Sha256 | None = None
    items: tuple[Item, ...]

    @model_validator(mode="after")
    def _no_image_twice(self) -> DatasetManifest:
        """An image in two splits would judge what it taught."""
        copies = sorted(
            image
            for image, times in Counter(item.image for item in self.items).items()
            if times > 1
        )
        if copies:
            named = ", ".join(image[:12] for image in copies[:COPIES_NAMED_MAX])
            raise ValueError(f"{len(copies)} images are in it more than once, such as {named}")
        return self

    def of(self, *splits: Split) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.split in splits)

    def counts(self) -> dict[str, int]:
        """Images of each split."""
        return {split.value: len(self.of(split)) for split in Split}

    def tag_counts(self) -> dict[str, Counter[str]]:
        """Images of each value, by tag; the camera counts as one."""
        found: dict[str, Counter[str]] = {}
        for item in self.items:
            camera = {} if item.camera is None else {"camera": item.camera}
            for tag, value in {**(item.tags or {}), **camera}.items():
                found.setdefault(tag, Counter())[value] += 1
        return dict(sorted(found.items()))


def build(
    class_names: tuple[str, ...], items: list[Item], parent: str | None = None
) -> DatasetManifest:
    """A manifest with its items in their one order: by split, then by digest."""
    ordered = sorted(items, key=lambda item: (item.split.value, item.image))
    return DatasetManifest(class_names=class_names, parent=parent, items=tuple(ordered))


def canonical(manifest: DatasetManifest) -> bytes:
    """The bytes that are stored and hashed (RFC 8785)."""
    return rfc8785.dumps(manifest.model_dump(mode="json", exclude_none=True))


def digest(manifest: DatasetManifest) -> Sha256:
    return sha256_hex(canonical(manifest))


def read(data: bytes) -> DatasetManifest:
    """The manifest that `data` is. Raises ValueError where it is none of this format."""
    try:
        return DatasetManifest.model_validate(json.loads(data))
    except ValidationError as error:
        raise ValueError(f"not a dataset manifest: {error.errors()[0]['msg']}") from error
