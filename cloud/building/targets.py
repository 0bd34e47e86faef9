"""What a version can be built for, by name: `onnx-fp32`, `openvino-int8@320`; pure.

After `@` stand width and height in px, or one side for both, and after another `x` the batch:
`onnx-int8@640x384`, `openvino-int8@320x4`, `openvino-fp32@320x320x64`. No side is under
SIDE_PX_MIN, so a second number below it is a batch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloud.errors import InvalidError
from cloud.input_sizes import SIDE_PX_MAX, SIDE_PX_MIN, SIDE_STEP_PX
from protocol.builds import ARM_HALF_FLAGS, VNNI_FLAGS, BuildIdentity, Format, Precision

BATCH_MAX = 256
INPUT_BYTES_MAX = 1024**3
"""Of a whole batch in fp32: an inference holds several of that size."""
TARGET_CHARACTERS_MAX = 64

_NUMBERS = re.compile(r"[1-9][0-9]*(x[1-9][0-9]*){0,2}")


@dataclass(frozen=True)
class _Kind:
    format: Format
    runtime: str
    precision: Precision
    runtime_precision: Precision


def _onnx(runtime: str, file: Precision, computed: Precision) -> _Kind:
    return _Kind(Format.ONNX, runtime, file, computed)


def _openvino(file: Precision, computed: Precision) -> _Kind:
    return _Kind(Format.OPENVINO, "openvino", file, computed)


def _tensorrt(precision: Precision) -> _Kind:
    return _Kind(Format.TENSORRT, "tensorrt", precision, precision)


_FP32, _FP16, _BF16, _INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8

_KINDS: dict[str, _Kind] = {
    "onnx-fp32": _onnx("onnxruntime", _FP32, _FP32),
    # ONNX Runtime casts on a CPU without fp16 kernels, and computes in fp32.
    "onnx-fp16": _onnx("onnxruntime", _FP16, _FP32),
    "onnx-int8": _onnx("onnxruntime", _INT8, _INT8),
    "openvino-fp32": _openvino(_FP32, _FP32),
    "openvino-bf16": _openvino(_FP32, _BF16),
    # Weights are stored in half and widened when the network is loaded.
    "openvino-fp16": _openvino(_FP16, _FP32),
    "openvino-int8": _openvino(_INT8, _INT8),
    "onnx-cuda-fp32": _onnx("onnxruntime-cuda", _FP32, _FP32),
    "onnx-cuda-fp16": _onnx("onnxruntime-cuda", _FP16, _FP16),
    "onnx-tensorrt-fp32": _onnx("onnxruntime-tensorrt", _FP32, _FP32),
    "onnx-tensorrt-fp16": _onnx("onnxruntime-tensorrt", _FP32, _FP16),
    "onnx-tensorrt-bf16": _onnx("onnxruntime-tensorrt", _FP32, _BF16),
    "tensorrt-fp32": _tensorrt(_FP32),
    "tensorrt-fp16": _tensorrt(_FP16),
    "tensorrt-bf16": _tensorrt(_BF16),
}

NAMES = tuple(_KINDS)
CPU_NAMES = tuple(n for n, kind in _KINDS.items() if kind.runtime in ("onnxruntime", "openvino"))
"""Those that the hub can build and evaluate by itself."""


@dataclass(frozen=True)
class BuildTarget:
    """One cell of the build matrix.

    Attributes:
        name: of NAMES.
        precision: of the file.
        width, height: of the input, px.
        batch: frames at once, fixed.
        cpu_flags_any: the device's CPU needs one of these; none: any will do.
        cpu_flags_none: it may have none of these.
    """

    name: str
    format: Format
    runtime: str
    precision: Precision
    runtime_precision: Precision
    width: int
    height: int
    batch: int = 1
    cpu_flags_any: tuple[str, ...] = ()
    cpu_flags_none: tuple[str, ...] = ()

    @property
    def on_cpu(self) -> bool:
        """Whether the hub can build and evaluate it by itself."""
        return self.name in CPU_NAMES

    def identity(self, opset: int | None) -> BuildIdentity:
        """What the bundle's manifest says; the opset is of an ONNX file only."""
        return BuildIdentity(
            format=self.format,
            precision=self.precision,
            runtime=self.runtime,
            runtime_precision=self.runtime_precision,
            input_width=self.width,
            input_height=self.height,
            batch=self.batch,
            opset=opset if self.format is Format.ONNX else None,
            cpu_flags_any=self.cpu_flags_any or None,
            cpu_flags_none=self.cpu_flags_none or None,
        )

    def __str__(self) -> str:
        batch = "" if self.batch == 1 else f"x{self.batch}"
        return f"{self.name}@{self.width}x{self.height}{batch}"


def parse(text: str, default_side_px: int) -> BuildTarget:
    """The target that `text` names, square by `default_side_px` where it says no size.

    Raises InvalidError where there is no such target, or not of such a size.
    """
    name, at, numbers = text[:TARGET_CHARACTERS_MAX].strip().partition("@")
    kind = _KINDS.get(name)
    if kind is None:
        raise InvalidError(f"there is no target {name!r}", f"name one of {', '.join(NAMES)}")
    width, height, batch = default_side_px, default_side_px, 1
    if at:
        width, height, batch = _size(text, numbers)
    _check(text, width, height, batch)
    wanted = VNNI_FLAGS if kind.precision is Precision.INT8 else ()
    unwanted = ARM_HALF_FLAGS if name == "onnx-fp16" else ()
    return BuildTarget(
        name,
        kind.format,
        kind.runtime,
        kind.precision,
        kind.runtime_precision,
        width,
        height,
        batch,
        wanted,
        unwanted,
    )


def _size(text: str, numbers: str) -> tuple[int, int, int]:
    if not _NUMBERS.fullmatch(numbers):
        raise InvalidError(
            f"{text[:TARGET_CHARACTERS_MAX]!r} says no size",
            "write the target as openvino-int8@320, @640x384 or @320x320x4",
        )
    first, *more = map(int, numbers.split("x"))
    if len(more) == 2:
        return first, more[0], more[1]
    if more and more[0] >= SIDE_PX_MIN:
        return first, more[0], 1
    return first, first, more[0] if more else 1


def _check(text: str, width: int, height: int, batch: int) -> None:
    for side in (width, height):
        if side % SIDE_STEP_PX or not SIDE_PX_MIN <= side <= SIDE_PX_MAX:
            raise InvalidError(
                f"{text!r} has a side of {side} px",
                f"take a multiple of {SIDE_STEP_PX} from {SIDE_PX_MIN} to {SIDE_PX_MAX}",
            )
    if batch > BATCH_MAX:
        raise InvalidError(f"{text!r} has a batch of {batch}", f"take at most {BATCH_MAX}")
    input_bytes = width * height * 3 * 4 * batch
    if input_bytes > INPUT_BYTES_MAX:
        raise InvalidError(
            f"{text!r} takes {input_bytes / 1024**3:.1f} GiB at once",
            f"take a smaller side or batch: at most {INPUT_BYTES_MAX // 1024**3} GiB of input",
        )
