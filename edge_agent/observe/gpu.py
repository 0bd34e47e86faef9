"""How the GPU fares: NVML where there is a driver for it, sysfs on a Jetson.

A Jetson's NVML answers some questions with "Not Supported", so both are asked and each
figure comes from the first that knows it. What nobody knows is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

SYS = Path("/sys")
SYSFS_BYTES_MAX = 64 * 1024
LOAD_FILES = (
    "/class/devfreq/*gpu*/device/load",
    "/class/devfreq/*.g[av][0-9]*b/device/load",
    "/class/devfreq/*.gp10b/device/load",
    "/devices/platform/*gpu*/load",
    "/devices/platform/bus@0/*gpu*/load",
    "/devices/platform/*.g[av][0-9]*b/load",
    "/devices/gpu.*/load",
)
"""Under /sys, where the releases of JetPack put the GPU's load, in per mille."""

NVMAP_CLIENTS = "/kernel/debug/nvmap/iovmm/clients"
_UNITS = {"B": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True)
class GpuReading:
    """One look at a GPU; None is unknown.

    Attributes:
        percent: of the time that it computed, 0..100.
        memory_used_bytes: by all processes.
    """

    percent: float | None = None
    memory_used_bytes: int | None = None
    temperature_c: float | None = None


class Gpu(Protocol):
    """Something that can tell how the GPU fares."""

    def read(self) -> GpuReading:
        """Never raises: what cannot be read is None."""


class NvmlGpu:
    """The first GPU of NVIDIA's driver. Raises OSError where there is none.

    Args:
        nvml: the module `pynvml`.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        try:
            nvml.nvmlInit()
            self._handle = nvml.nvmlDeviceGetHandleByIndex(0)
        except nvml.NVMLError as error:
            raise OSError(f"NVML: {error}") from error

    def read(self) -> GpuReading:
        nvml, handle = self._nvml, self._handle
        percent = self._ask(lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu))
        used_bytes = self._ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used))
        sensor = nvml.NVML_TEMPERATURE_GPU
        celsius = self._ask(lambda: float(nvml.nvmlDeviceGetTemperature(handle, sensor)))
        return GpuReading(percent, used_bytes, celsius)

    def name(self) -> str:
        found = self._ask(lambda: self._nvml.nvmlDeviceGetName(self._handle))
        return found.decode() if isinstance(found, bytes) else str(found or "GPU")

    def _ask(self, question: Callable[[], T]) -> T | None:
        """The answer; None where the driver does not support the question or is gone."""
        try:
            return question()
        except self._nvml.NVMLError:
            return None


class JetsonGpu:
    """A Jetson's GPU by sysfs. Raises OSError where no file tells its load.

    Its memory is the machine's; what the GPU holds of it only root may read.
    """

    def __init__(self, sys: Path = SYS) -> None:
        self._sys = sys
        found = (path for pattern in LOAD_FILES for path in sorted(sys.glob(pattern[1:])))
        load = next(found, None)
        if load is None:
            raise OSError(f"no load of a GPU under {sys}")
        self._load = load
        zones = sorted(sys.glob("class/thermal/thermal_zone*"))
        self._zone = next((z for z in zones if "gpu" in _text(z / "type").lower()), None)

    def read(self) -> GpuReading:
        per_mille = _number(_text(self._load))
        millidegrees = None if self._zone is None else _number(_text(self._zone / "temp"))
        return GpuReading(
            percent=None if per_mille is None else min(per_mille / 10, 100.0),
            memory_used_bytes=_nvmap_bytes(_text(self._sys / NVMAP_CLIENTS[1:])),
            temperature_c=None if millidegrees is None else millidegrees / 1000,
        )

    def name(self) -> str:
        return "Jetson GPU"


class AnyGpu:
    """Several sources of one GPU's figures; each figure from the first that knows it."""

    def __init__(self, *sources: Gpu) -> None:
        self._sources = sources

    def read(self) -> GpuReading:
        readings = [source.read() for source in self._sources]
        return GpuReading(
            percent=_first(r.percent for r in readings),
            memory_used_bytes=_first(r.memory_used_bytes for r in readings),
            temperature_c=_first(r.temperature_c for r in readings),
        )


def find_gpu(sys: Path = SYS) -> AnyGpu:
    """What can be asked on this machine; with no source at all every figure is None."""
    sources: list[Gpu] = []
    for make in (_nvml, lambda: JetsonGpu(sys)):
        try:
            sources.append(make())
        except (ImportError, OSError):
            continue
    return AnyGpu(*sources)


def _nvml() -> NvmlGpu:
    import pynvml

    return NvmlGpu(pynvml)


def _first(found: Any) -> Any:
    return next((value for value in found if value is not None), None)


def _text(path: Path) -> str:
    """A sysfs file's text; empty where it cannot be read (a zone that is off answers EAGAIN)."""
    try:
        with path.open("rb") as file:
            return file.read(SYSFS_BYTES_MAX).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _nvmap_bytes(clients: str) -> int | None:
    """The line "total  1234K" at the end of nvmap's table of clients."""
    for line in reversed(clients.splitlines()):
        words = line.split()
        if words[:1] == ["total"] and len(words) > 1:
            digits, unit = words[1][:-1], words[1][-1]
            count = _number(digits) if unit in _UNITS else _number(words[1])
            return None if count is None else count * _UNITS.get(unit, 1)
    return None
