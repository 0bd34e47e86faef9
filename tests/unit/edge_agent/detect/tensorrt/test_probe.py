from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edge_agent.detect.tensorrt import probe as probing
from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.detect.tensorrt.probe import Gpu, machine, probe, runtime_capability
from protocol.builds import Precision

ORIN = Gpu("Orin", "8.7", "540.4.0", "10.3.0")


def runtime(monkeypatch: pytest.MonkeyPatch, status: int = 0) -> None:
    """CUDA with one Orin, or one that answers `status` to everything."""
    device = SimpleNamespace(name=b"Orin\0\0\0", major=8, minor=7)
    answers = SimpleNamespace(
        cudaError_t=SimpleNamespace(cudaSuccess=0),
        cudaGetErrorString=lambda _s: (0, b"no CUDA-capable device is detected"),
        cudaGetDeviceProperties=lambda _d: (status, device),
        cudaDriverGetVersion=lambda: (status, 12060),
    )
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = answers  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)


def nvml(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    """NVML with one big GPU; what it is told goes into the list."""
    told: list[str] = []
    answers = {
        "nvmlInit": lambda: told.append("init"),
        "nvmlShutdown": lambda: told.append("shutdown"),
        "nvmlSystemGetDriverVersion": lambda: b"580.65",
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetName": lambda _h: "Big",
        "nvmlDeviceGetCudaComputeCapability": lambda _h: (9, 0),
    }
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(**{**answers, **changes}))
    return told


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        try:
            return versions[name.replace("-", "_")]
        except KeyError:
            raise PackageNotFoundError(name) from None

    monkeypatch.setattr(probing, "version", version)


def missing(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def refuse(*_: object) -> None:
    raise RuntimeError("Not Supported")


def test_where_there_is_nothing_all_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "cuda.bindings", "pynvml")
    installed(monkeypatch)
    assert probe() == Gpu()
    assert runtime_capability(Gpu()) is None
    with pytest.raises(EngineBuildError, match="no plan can be built"):
        machine(Gpu(tensorrt_version="10.3.0"))


def test_cuda_names_the_device_and_nvml_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(monkeypatch)
    told = nvml(monkeypatch)
    installed(monkeypatch, tensorrt_cu13="11.4.0.106")
    assert probe() == Gpu("Orin", "8.7", "580.65", "11.4.0.106")
    assert told == ["init", "shutdown"]


def test_a_jetson_where_nvml_answers_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(monkeypatch)
    told = nvml(monkeypatch, nvmlSystemGetDriverVersion=refuse)
    installed(monkeypatch, tensorrt="10.3.0")
    assert probe() == Gpu("Orin", "8.7", "cuda-12.6", "10.3.0")
    assert told == ["init", "shutdown"]


def test_nvml_alone_says_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "cuda.bindings")
    nvml(monkeypatch, nvmlDeviceGetCudaComputeCapability=refuse)
    installed(monkeypatch)
    assert probe() == Gpu("Big", None, "580.65", None)


@pytest.mark.parametrize("version", ["8.6.1", "12.0.0", "nonsense"])
def test_an_unknown_tensorrt_is_none(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    runtime(monkeypatch, status=35)
    nvml(monkeypatch, nvmlInit=refuse)
    installed(monkeypatch, tensorrt=version)
    assert probe() == Gpu()


def test_a_capability_needs_all_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "find_spec", lambda _name: object())
    found = runtime_capability(ORIN)
    assert found is not None
    assert (found.runtime, found.version) == ("tensorrt", "10.3.0")
    assert Precision.BF16 in found.precisions
    older = runtime_capability(Gpu("Xavier", "7.2", "1", "10.3.0"))
    assert older is not None
    assert Precision.BF16 not in older.precisions
    assert runtime_capability(Gpu("Orin", "8.7", "540", None)) is None
    monkeypatch.setattr(probing, "find_spec", refuse)
    assert runtime_capability(ORIN) is None


def test_a_known_machine_is_what_plans_are_bound_to() -> None:
    bound = machine(ORIN)
    assert (bound.gpu_name, bound.compute_capability) == ("Orin", "8.7")
    assert (bound.tensorrt_version, bound.driver_version) == ("10.3.0", "540.4.0")
