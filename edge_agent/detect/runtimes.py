"""Which inference runtimes are installed and in what they compute, without importing them.

An import would cost a process that never uses the runtime up to half a second and 50 MB.
What is said here is proven when a build is loaded: each detector refuses a provider that
did not start and a precision that was not kept.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import metadata, util

from edge_agent.detect.providers import PRECISIONS
from edge_agent.detect.tensorrt.probe import Gpu, runtime_capability
from protocol.builds import Format, Precision, RuntimeCapability

# The ONNX opset that ONNX Runtime 1.x knows up to. 1.23 and 1.31 were tried; a release
# between two entries is taken to know no more than the earlier one.
_OPSET_BY_RUNTIME = {20: 21, 21: 22, 23: 23, 31: 26}
_OPSET_OLDEST = 19

_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
_OPENVINO = ("openvino",)

# The CPU's flags with which OpenVINO computes in a precision rather than convert to another.
_OPENVINO_FLAGS = {
    Precision.BF16: {"avx512_bf16"},
    Precision.FP16: {"avx512_fp16", "asimdhp"},
}


def runtimes(cpu_flags: Collection[str], gpu: Gpu) -> tuple[RuntimeCapability, ...]:
    """The runtimes that are installed; those of a GPU count only where there is one.

    Args:
        cpu_flags: as /proc/cpuinfo names them.
    """
    found = _onnxruntime(gpu)
    version = installed_version("openvino", _OPENVINO)
    if version is not None:
        found.append(
            RuntimeCapability(
                runtime="openvino",
                version=version,
                formats=(Format.OPENVINO,),
                precisions=openvino_precisions(cpu_flags),
            )
        )
    native = runtime_capability(gpu)
    if native is not None:
        found.append(native)
    return tuple(found)


def openvino_precisions(cpu_flags: Collection[str]) -> tuple[Precision, ...]:
    """In what OpenVINO computes on a CPU with these flags when it is asked to."""
    others = (p for p, flags in _OPENVINO_FLAGS.items() if flags & set(cpu_flags))
    return (Precision.FP32, Precision.INT8, *others)


def opset_max(version: str) -> int:
    """The highest ONNX opset of an ONNX Runtime version; for a newer one than is known here,
    that of the newest known, which errs on the safe side."""
    minor = int(version.split(".")[1])
    known = [opset for release, opset in _OPSET_BY_RUNTIME.items() if release <= minor]
    return max(known, default=_OPSET_OLDEST)


def installed_version(module: str, distributions: Collection[str]) -> str | None:
    """The version of the distribution that gives `module`, None where it is not installed."""
    if util.find_spec(module) is None:
        return None
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _onnxruntime(gpu: Gpu) -> list[RuntimeCapability]:
    names = ["onnxruntime"]
    with_cuda = installed_version("onnxruntime", ("onnxruntime-gpu",)) is not None
    if with_cuda and gpu.compute_capability is not None:
        names += ["onnxruntime-cuda", "onnxruntime-tensorrt"]
    version = installed_version("onnxruntime", _ONNXRUNTIME)
    if version is None:
        return []
    return [
        RuntimeCapability(
            runtime=name,
            version=version,
            formats=(Format.ONNX,),
            precisions=PRECISIONS[name],
            opset_max=opset_max(version),
        )
        for name in names
    ]
