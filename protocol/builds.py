"""What a build is for and what a device can run, and whether the two fit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ShortText = Annotated[str, Field(max_length=128)]


class Format(str, Enum):
    ONNX = "onnx"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"


class Precision(str, Enum):
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


_RUNTIME_NAMES = {
    "onnxruntime": "onnx",
    "onnxruntime-cuda": "onnx-cuda",
    "onnxruntime-tensorrt": "onnx-tensorrt",
}
ARM_HALF_FLAGS = ("asimdhp",)
"""Flags of CPUs on which ONNX Runtime computes fp16 files in fp16, which it widens elsewhere."""
VNNI_FLAGS = ("avx512_vnni", "avx_vnni", "asimddp")
"""Flags of CPUs that multiply int8 without saturating in between; others give other answers."""


class BuildIdentity(BaseModel):
    """The target that a build was made for.

    The runtime's precision belongs to it: the same file computed in another precision
    gives other confidences, so it is another build.

    Attributes:
        precision: of the file's weights.
        runtime_precision: what the runtime computes in.
        cpu_flags_any: the device's CPU needs one of these; None: any CPU will do.
        cpu_flags_none: the device's CPU may have none of these, for with them the runtime would
            compute in another precision.

    Both are None where there are none, and then no part of the canonical form: a manifest of
    before they existed keeps its digest.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Format
    precision: Precision
    runtime: ShortText
    runtime_precision: Precision
    input_width: int = Field(ge=32, le=8192)
    input_height: int = Field(ge=32, le=8192)
    batch: int = Field(default=1, ge=1, le=256)
    opset: int | None = Field(default=None, ge=1)
    compute_capability: ShortText | None = None
    tensorrt_version: ShortText | None = None
    cpu_flags_any: tuple[ShortText, ...] | None = Field(default=None, max_length=16)
    cpu_flags_none: tuple[ShortText, ...] | None = Field(default=None, max_length=16)

    def label(self) -> str:
        """A short name, for people: `onnx-fp32-320x320`, `openvino-bf16-640x640`.

        Where file and runtime differ, the one that is not fp32 tells the build apart.
        """
        precision = self.runtime_precision if self.precision is Precision.FP32 else self.precision
        runtime = _RUNTIME_NAMES.get(self.runtime, self.runtime)
        batch = "" if self.batch == 1 else f"-b{self.batch}"
        return f"{runtime}-{precision.value}-{self.input_width}x{self.input_height}{batch}"


class RuntimeCapability(BaseModel):
    """One inference runtime that a device has, with what it can load and compute."""

    model_config = ConfigDict(frozen=True, extra="allow")

    runtime: ShortText
    version: ShortText
    formats: tuple[Format, ...]
    precisions: tuple[Precision, ...]
    opset_max: int | None = None


class Capabilities(BaseModel):
    """What a device says of itself; unknown is None, never 0."""

    model_config = ConfigDict(frozen=True, extra="allow")

    architecture: ShortText
    runtimes: tuple[RuntimeCapability, ...] = Field(max_length=16)
    memory_bytes: int | None = None
    cpu_flags: tuple[ShortText, ...] = ()
    gpu_name: ShortText | None = None
    compute_capability: ShortText | None = None
    tensorrt_version: ShortText | None = None
    bundle_format_max: int = 1
    repair_chunks: bool = False


@dataclass(frozen=True)
class Fit:
    """Whether a build runs on a device, and in words why not."""

    fits: bool
    reasons: tuple[str, ...] = ()


def match(build: BuildIdentity, device: Capabilities, *, bundle_format: int = 1) -> Fit:
    """Whether `device` can run `build` exactly as it was evaluated.

    Args:
        bundle_format: version of the bundle format that the build comes in.
    """
    runtimes = [r for r in device.runtimes if r.runtime == build.runtime]
    if not runtimes:
        known = ", ".join(sorted({r.runtime for r in device.runtimes})) or "none"
        return Fit(False, (f"needs the runtime {build.runtime}; the device has {known}",))
    # A device that names a runtime twice can do what either entry says.
    reasons = min((_runtime_reasons(build, runtime) for runtime in runtimes), key=len)
    if bundle_format > device.bundle_format_max:
        reasons.append(
            f"comes in bundle format {bundle_format}; the device reads up to "
            f"{device.bundle_format_max}"
        )
    if build.cpu_flags_any and not set(build.cpu_flags_any) & set(device.cpu_flags):
        reasons.append(f"needs a CPU with one of {', '.join(build.cpu_flags_any)}")
    unwanted = [flag for flag in build.cpu_flags_none or () if flag in device.cpu_flags]
    if unwanted:
        reasons.append(
            f"does not compute in {build.runtime_precision.value} on a CPU with "
            f"{', '.join(unwanted)}"
        )
    if build.format is Format.TENSORRT:
        reasons += _engine_reasons(build, device)
    return Fit(not reasons, tuple(reasons))


def _runtime_reasons(build: BuildIdentity, runtime: RuntimeCapability) -> list[str]:
    reasons = []
    if build.format not in runtime.formats:
        reasons.append(f"{runtime.runtime} there does not load {build.format.value}")
    if build.runtime_precision not in runtime.precisions:
        reasons.append(
            f"{runtime.runtime} there does not compute in {build.runtime_precision.value}"
        )
    if build.opset and runtime.opset_max and build.opset > runtime.opset_max:
        reasons.append(
            f"needs ONNX opset {build.opset}; {runtime.runtime} {runtime.version} "
            f"knows up to {runtime.opset_max}"
        )
    return reasons


def _engine_reasons(build: BuildIdentity, device: Capabilities) -> list[str]:
    reasons = []
    if build.compute_capability != device.compute_capability:
        reasons.append(
            f"is an engine for compute capability {build.compute_capability}; "
            f"the device has {device.compute_capability}"
        )
    if build.tensorrt_version != device.tensorrt_version:
        reasons.append(
            f"is an engine of TensorRT {build.tensorrt_version}; "
            f"the device has {device.tensorrt_version}"
        )
    return reasons
