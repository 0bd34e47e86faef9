"""What this machine's GPU is, and whether native TensorRT could run on it.

Asking never raises and never loads TensorRT itself, which is large: its version is read
from what is installed. Whatever cannot be learnt is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, TypeVar

from edge_agent.detect.tensorrt.cache_key import Machine
from edge_agent.detect.tensorrt.cuda import call, load_runtime
from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.detect.tensorrt.versions import Version, generation
from edge_agent.errors import DetectorError
from protocol.builds import Format, Precision, RuntimeCapability

TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
BF16_COMPUTE_CAPABILITY_MIN = (8, 0)

T = TypeVar("T")

Facts = tuple["str | None", "str | None", "str | None"]
"""Name, compute capability and driver of the first device."""
NOTHING: Facts = (None, None, None)


@dataclass(frozen=True)
class Gpu:
    """The first device.

    Attributes:
        compute_capability: as `8.7`.
        driver_version: the driver's own, or where only CUDA answers the CUDA version that
            it offers, as `cuda-12.6`.
        tensorrt_version: as installed.
    """

    name: str | None = None
    compute_capability: str | None = None
    driver_version: str | None = None
    tensorrt_version: str | None = None


def probe() -> Gpu:
    """What can be learnt, from CUDA where TensorRT is installed, else from NVML.

    Without TensorRT nobody needs CUDA's word, and its bindings take megabytes.
    """
    tensorrt = _known(_installed, None)
    name, capability, offered = _known(_from_cuda, NOTHING) if tensorrt else NOTHING
    nvml_name, nvml_capability, driver = _known(_from_nvml, NOTHING)
    return Gpu(
        name=name or nvml_name,
        compute_capability=capability or nvml_capability,
        driver_version=driver or offered,
        tensorrt_version=tensorrt,
    )


def machine(gpu: Gpu) -> Machine:
    """What a plan built here is bound to. Raises EngineBuildError where it is not known."""
    known = (gpu.name, gpu.compute_capability, gpu.tensorrt_version, gpu.driver_version)
    name, capability, tensorrt, driver = known
    if name is None or capability is None or tensorrt is None or driver is None:
        raise EngineBuildError(
            f"no plan can be built here: of GPU, compute capability, TensorRT and driver "
            f"{known} are known; `argosy-agent doctor` says how to install the rest"
        )
    return Machine(name, capability, tensorrt, driver)


def runtime_capability(gpu: Gpu) -> RuntimeCapability | None:
    """Native TensorRT as a capability; None where a part of it is missing.

    It loads engines, and builds them of ONNX files.
    """
    if gpu.compute_capability is None or gpu.tensorrt_version is None:
        return None
    if not _known(lambda: find_spec("cuda.bindings") is not None, False):
        return None
    precisions = [Precision.FP32, Precision.FP16, Precision.INT8]
    if tuple(map(int, gpu.compute_capability.split("."))) >= BF16_COMPUTE_CAPABILITY_MIN:
        precisions.append(Precision.BF16)
    return RuntimeCapability(
        runtime="tensorrt",
        version=gpu.tensorrt_version,
        formats=(Format.TENSORRT, Format.ONNX),
        precisions=tuple(precisions),
    )


def _known(ask: Callable[[], T], otherwise: T) -> T:
    try:
        return ask()
    except Exception:  # noqa: BLE001 - drivers fail in many ways, all of them mean: not known
        return otherwise


def _from_cuda() -> Facts:
    runtime = load_runtime()
    device: Any = call(runtime, "cudaGetDeviceProperties", 0)
    offered = int(call(runtime, "cudaDriverGetVersion"))
    name = device.name.split(b"\0")[0].decode() if isinstance(device.name, bytes) else device.name
    return name, f"{device.major}.{device.minor}", f"cuda-{offered // 1000}.{offered % 1000 // 10}"


def _from_nvml() -> Facts:
    import pynvml

    pynvml.nvmlInit()
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        name = _known(lambda: _text(pynvml.nvmlDeviceGetName(device)), None)
        capability = _known(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(device), None)
        dotted = None if capability is None else ".".join(map(str, capability))
        return name, dotted, driver
    finally:
        pynvml.nvmlShutdown()


def _text(answer: str | bytes) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


def _installed() -> str | None:
    for package in TENSORRT_PACKAGES:
        try:
            found = Version.parse(version(package))
        except (PackageNotFoundError, DetectorError):
            continue
        generation(found)
        return str(found)
    return None
