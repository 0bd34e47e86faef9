"""ONNX Runtime's execution providers with their precision pinned; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edge_agent.errors import BundleError, DetectorError
from protocol.builds import BuildIdentity, Precision

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

PROVIDERS: dict[str, str] = {
    "onnxruntime": CPU,
    "onnxruntime-cuda": CUDA,
    "onnxruntime-tensorrt": TENSORRT,
}
"""Which provider is a build's runtime."""

PRECISIONS: dict[str, tuple[Precision, ...]] = {
    "onnxruntime": (Precision.FP32, Precision.INT8),
    "onnxruntime-cuda": (Precision.FP32, Precision.FP16),
    "onnxruntime-tensorrt": (Precision.FP32, Precision.FP16, Precision.BF16),
}
"""In what each can be held to compute; int8 only what was quantised, see `quantised`."""

ARM_HALF_FLAG = "asimdhp"
TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"

Provider = tuple[str, dict[str, Any]]


def chain(build: BuildIdentity, cache: Path | None, environ: Mapping[str, str]) -> list[Provider]:
    """The providers for a build, the wanted one first; those after it take what it cannot.

    Args:
        cache: folder for compiled engines of this very model; None keeps none.
        environ: the process's environment variables.

    Raises:
        BundleError: the runtime cannot be held to the build's precision.
        DetectorError: it could, if the process were started otherwise.
    """
    allowed = PRECISIONS[build.runtime]
    if build.runtime_precision not in allowed:
        known = ", ".join(p.value for p in allowed)
        raise BundleError(
            f"{build.runtime} cannot be held to {build.runtime_precision.value}, only to {known}; "
            "build for another runtime"
        )
    if build.runtime_precision is Precision.FP16 and build.runtime == "onnxruntime-cuda":
        _check_half_file(build)
    wanted = PROVIDERS[build.runtime]
    if wanted == CPU:
        return [(CPU, {})]
    if wanted == CUDA:
        return [(CUDA, _cuda()), (CPU, {})]
    _check_tf32(build, environ)
    return [(TENSORRT, _tensorrt(build, cache)), (CUDA, _cuda()), (CPU, {})]


def check_half_on_cpu(build: BuildIdentity, cpu_flags: Collection[str]) -> None:
    """The CPU provider widens an fp16 file to fp32, but where Arm's cores multiply fp16: there
    it has kernels of its own for it, and no option against them.

    Args:
        cpu_flags: as /proc/cpuinfo names them.

    Raises BundleError where it would compute in fp16.
    """
    if build.precision is Precision.FP16 and ARM_HALF_FLAG in cpu_flags:
        raise BundleError(
            f"{build.runtime} computes an fp16 file in fp16 on this CPU, not in "
            f"{build.runtime_precision.value}; send this device the fp32 build"
        )


def _check_half_file(build: BuildIdentity) -> None:
    """The CUDA provider computes in what the file says; it converts nothing."""
    if build.precision is not Precision.FP16:
        raise BundleError(
            f"{build.runtime} computes a {build.precision.value} file in fp32; "
            "export it with quantize=16"
        )


def _check_tf32(build: BuildIdentity, environ: Mapping[str, str]) -> None:
    """TensorRT rounds fp32 to TF32 and has no option against it, only a variable, which CUDA
    reads once for the whole process."""
    if build.runtime_precision is Precision.FP32 and environ.get(TF32_VARIABLE) != "0":
        raise DetectorError(
            f"{build.runtime} would compute fp32 in TF32; set {TF32_VARIABLE}=0 in the agent's "
            "environment and start it again"
        )


def _cuda() -> dict[str, Any]:
    return {"device_id": 0, "use_tf32": 0, "cudnn_conv_algo_search": "EXHAUSTIVE"}


def _tensorrt(build: BuildIdentity, cache: Path | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "device_id": 0,
        "trt_fp16_enable": build.runtime_precision is Precision.FP16,
        "trt_int8_enable": False,
    }
    if build.runtime_precision is Precision.BF16:
        options["trt_bf16_enable"] = True
    if cache is not None:
        options |= {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(cache),
        }
    return options
