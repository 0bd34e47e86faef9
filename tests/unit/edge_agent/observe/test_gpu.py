"""GPU figures against a fake sysfs tree and a fake NVML."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.observe.gpu import AnyGpu, GpuReading, JetsonGpu, NvmlGpu, find_gpu


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """As pynvml: answers what it was given; the rest is "Not Supported"."""

    NVMLError = FakeNvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, driver: bool = True, **answers: Any) -> None:
        self._driver, self._answers = driver, answers

    def nvmlInit(self) -> None:  # noqa: N802
        if not self._driver:
            raise FakeNvmlError("Driver Not Loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"gpu {index}"

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self._answer("load"))

    def nvmlDeviceGetMemoryInfo(self, _handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(used=self._answer("used"))

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> Any:  # noqa: N802
        return self._answer("celsius")

    def nvmlDeviceGetName(self, _handle: str) -> Any:  # noqa: N802
        return self._answer("name")

    def _answer(self, key: str) -> Any:
        if key not in self._answers:
            raise FakeNvmlError("Not Supported")
        return self._answers[key]


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_nvml_tells_what_it_knows_and_a_true_zero_is_zero() -> None:
    assert NvmlGpu(FakeNvml(load=0, used=0, celsius=41)).read() == GpuReading(0.0, 0, 41.0)


def test_what_nvml_does_not_support_is_unknown() -> None:
    assert NvmlGpu(FakeNvml(celsius=50)).read() == GpuReading(None, None, 50.0)
    assert NvmlGpu(FakeNvml()).read() == GpuReading()
    assert NvmlGpu(FakeNvml()).name() == "GPU"
    assert NvmlGpu(FakeNvml(name=b"H100")).name() == "H100"


def test_no_driver_is_no_gpu() -> None:
    with pytest.raises(OSError, match="Driver Not Loaded"):
        NvmlGpu(FakeNvml(driver=False))


@pytest.mark.parametrize(
    "load_file",
    [
        "devices/platform/gpu.0/load",
        "devices/platform/17000000.gpu/load",
        "devices/platform/bus@0/17000000.gpu/load",
        "devices/platform/17000000.ga10b/load",
        "devices/platform/17000000.gv11b/load",
        "devices/gpu.0/load",
        "class/devfreq/17000000.gpu/device/load",
        "class/devfreq/17000000.ga10b/device/load",
        "class/devfreq/17000000.gp10b/device/load",
    ],
)
def test_a_jetson_tells_its_load_in_per_mille(tmp_path: Path, load_file: str) -> None:
    put(tmp_path, load_file, "373\n")
    put(tmp_path, "class/thermal/thermal_zone0/type", "CPU-therm\n")
    put(tmp_path, "class/thermal/thermal_zone0/temp", "40000\n")
    put(tmp_path, "class/thermal/thermal_zone1/type", "gpu-thermal\n")
    put(tmp_path, "class/thermal/thermal_zone1/temp", "48250\n")
    put(
        tmp_path,
        "kernel/debug/nvmap/iovmm/clients",
        "CLIENT  PROCESS  PID  SIZE\nuser  python3  912  51200K\ntotal  51200K\n",
    )
    assert JetsonGpu(tmp_path).read() == GpuReading(37.3, 51200 * 1024, 48.25)


def test_a_jetson_that_idles_and_hides_its_memory(tmp_path: Path) -> None:
    put(tmp_path, "devices/gpu.0/load", "0\n")
    assert JetsonGpu(tmp_path).read() == GpuReading(0.0, None, None)
    put(tmp_path, "devices/gpu.0/load", "nonsense\n")
    assert JetsonGpu(tmp_path).read() == GpuReading()
    put(tmp_path, "kernel/debug/nvmap/iovmm/clients", "total\n")
    assert JetsonGpu(tmp_path).read().memory_used_bytes is None


def test_another_devices_load_is_not_taken_for_the_gpus(tmp_path: Path) -> None:
    put(tmp_path, "devices/platform/15340000.vic/load", "900\n")
    with pytest.raises(OSError, match="no load"):
        JetsonGpu(tmp_path)


def test_sysfs_fills_what_nvml_does_not_support(tmp_path: Path) -> None:
    put(tmp_path, "devices/gpu.0/load", "1001\n")
    both = AnyGpu(NvmlGpu(FakeNvml(celsius=0, used=7)), JetsonGpu(tmp_path))
    assert both.read() == GpuReading(100.0, 7, 0.0)


def test_a_machine_without_either_knows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert find_gpu(tmp_path).read() == GpuReading()
