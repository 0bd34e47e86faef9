"""What the building child is asked for, how it tells of its progress, and what it refuses."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ORDER_NAME, PROGRESS_NAME, RESULT_NAME = "order.json", "progress.jsonl", "result.json"
REFUSED_STATUS = 3
"""Exit status where the result says what a user can mend."""

CALIBRATION_IMAGES_MIN = 8
PROGRESS_EVERY_S = 0.5
BACKBONE_LAYERS = 10
"""What Ultralytics' `freeze=10` keeps: a backbone without its attention."""


class OrderRefused(Exception):  # noqa: N818 - says what its user can mend
    """The artifact cannot be made of what was given."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True)


class OnnxOrder(_Order):
    """An ONNX file of a version's weights; paths are absolute or relative to the folder.

    Attributes:
        width, height: of the input, px.
        golden: frames that PyTorch answers too, where the weights are a checkpoint.
        backbone_layers: of so many first layers a digest is taken; 0 takes none.
    """

    make: Literal["onnx-fp32"]
    weights: str
    weights_format: Literal["pt", "onnx"]
    width: int
    height: int
    batch: int = 1
    class_names: tuple[str, ...]
    golden: tuple[str, ...] = ()
    backbone_layers: int = Field(default=BACKBONE_LAYERS, ge=0, le=1000)


class DerivedOrder(_Order):
    """Another precision or format of an ONNX file.

    Attributes:
        calibration: images, for int8.
        float_layers: nodes kept in float besides the head, by name or its beginning up to a
            slash; None: the rung says which.
        rung: how much stays in float, from 0, the head alone.
        ranking: of the same file and images, as the order of a lower rung found it; None:
            it is measured, where the rung asks for it.
    """

    make: Literal[
        "onnx-fp16",
        "onnx-int8",
        "openvino-fp32",
        "openvino-bf16",
        "openvino-fp16",
        "openvino-int8",
        "onnx-cuda-fp32",
        "onnx-cuda-fp16",
        "onnx-tensorrt-fp32",
        "onnx-tensorrt-fp16",
        "onnx-tensorrt-bf16",
    ]
    onnx: str
    calibration: tuple[str, ...] = ()
    golden: tuple[str, ...] = ()
    float_layers: tuple[str, ...] | None = None
    rung: int = Field(default=0, ge=0)
    ranking: tuple[tuple[tuple[str, ...], float], ...] | None = None


class RangesOrder(_Order):
    """How the ranges of a quantised file suit some images.

    Attributes:
        onnx: the quantised file; an OpenVINO network's .xml is read too.
        float_onnx: what it was made of.
    """

    make: Literal["ranges"]
    onnx: str
    float_onnx: str
    calibration: tuple[str, ...]


Order = OnnxOrder | DerivedOrder | RangesOrder


class Progress:
    """Progress lines: a new stage at once, the rest at most two a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._stage, self._written_s = path, "", 0.0

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        now_s = time.monotonic()
        if stage == self._stage and done < total and now_s - self._written_s < PROGRESS_EVERY_S:
            return
        self._stage, self._written_s = stage, now_s
        line: dict[str, Any] = {"stage": stage, "done": done, "total": total}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
