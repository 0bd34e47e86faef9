"""API shapes of building."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.bundles import RelativePath
from protocol.chunks import Sha256

TargetText = Annotated[str, Field(min_length=1, max_length=64)]
TARGETS_MAX, FILES_MAX = 32, 8


class BuildsCreate(BaseModel):
    """Which builds a version is to have.

    Attributes:
        targets: such as `onnx-int8`, `openvino-bf16@320`, `openvino-int8@640x384x4`; the size
            is the first build's where none is named.
        robustness: also look at spoiled golden images.
        again: make those anew that are there already. What is brought as `files` is evaluated
            in any case.
        files: an artifact that was made elsewhere, for the one target: its paths in the
            bundle, with the digests of blobs that were uploaded.
    """

    model_config = ConfigDict(extra="forbid")

    targets: list[TargetText] = Field(min_length=1, max_length=TARGETS_MAX)
    robustness: bool = True
    again: bool = False
    files: dict[RelativePath, Sha256] | None = Field(default=None, max_length=FILES_MAX)

    @model_validator(mode="after")
    def _one_target_for_files(self) -> BuildsCreate:
        if self.files is not None and len(self.targets) != 1:
            raise ValueError("files are of one target; name just that one")
        return self
