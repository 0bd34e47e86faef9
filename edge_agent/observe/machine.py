"""How the machine fares: load, memory, disk, temperature, GPU. Unknown is None, never 0."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from edge_agent.observe.gpu import AnyGpu, GpuReading, find_gpu
from edge_agent.observe.reading import MachineReading
from edge_agent.worker import Worker
from protocol.messages import Health

READ_EVERY_S = 1.0
CELSIUS_PLAUSIBLE = (-40.0, 150.0)


class Machine:
    """What the machine's meters said last; any thread may ask, and none waits for a meter.

    Meters are read by a thread of their own, at most once in `READ_EVERY_S` and only while
    somebody asks: a driver that hangs must hold up neither results nor reports. Until the
    first reading everything is unknown, and the processor's load, which is that between two
    readings, until the second.

    Args:
        submit: runs a job later, on one thread.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        gpu: Callable[[], AnyGpu] = find_gpu,
        submit: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._monotonic, self._find_gpu = monotonic, gpu
        self._submit = submit or Worker("machine").submit
        self._gpu: AnyGpu | None = None
        self._lock = threading.Lock()
        self._due_s, self._is_reading = float("-inf"), False
        self._times: tuple[float, float] | None = None
        self._reading, self._gpu_reading = MachineReading(), GpuReading()

    def read(self) -> MachineReading:
        """The latest reading; a new one is begun where that is older than `READ_EVERY_S`."""
        self._begin()
        return self._reading

    def health(self, data_dir: Path) -> Health:
        """Load and room; what cannot be read is None."""
        self._begin()
        memory, reading, gpu = psutil.virtual_memory(), self._reading, self._gpu_reading
        return Health(
            cpu_percent=reading.cpu_percent,
            rss_bytes=psutil.Process().memory_info().rss,
            memory_available_bytes=memory.available,
            disk_free_bytes=_disk_free_bytes(data_dir),
            temperature_c=reading.temperature_c,
            gpu_percent=gpu.percent,
            gpu_memory_used_bytes=gpu.memory_used_bytes,
            gpu_temperature_c=gpu.temperature_c,
        )

    def _begin(self) -> None:
        with self._lock:
            now_s = self._monotonic()
            if self._is_reading or now_s < self._due_s:
                return
            self._due_s, self._is_reading = now_s + READ_EVERY_S, True
        self._submit(self._refresh)

    def _refresh(self) -> None:
        try:
            if self._gpu is None:
                self._gpu = self._find_gpu()
            self._gpu_reading = self._gpu.read()
            self._reading = MachineReading(
                self._cpu_percent(), self._gpu_reading.percent, hottest_c(_sensors())
            )
        finally:
            self._is_reading = False

    def _cpu_percent(self) -> float | None:
        before, self._times = self._times, _cpu_times()
        return busy_percent(before, self._times)


def busy_percent(before: tuple[float, float] | None, now: tuple[float, float]) -> float | None:
    """The load between two (busy, all) counts of processor seconds; None where no time
    passed or a counter ran backwards."""
    if before is None:
        return None
    busy, whole = now[0] - before[0], now[1] - before[1]
    return min(100 * busy / whole, 100.0) if whole > 0 and busy >= 0 else None


def hottest_c(sensors: dict[str, Any]) -> float | None:
    """The highest plausible reading of all sensors; those that are off say absurd things."""
    low, high = CELSIUS_PLAUSIBLE
    found = (s.current for group in sensors.values() for s in group)
    return max((float(c) for c in found if c is not None and low < c < high), default=None)


def _cpu_times() -> tuple[float, float]:
    times = psutil.cpu_times()
    # Guests' time is in user's and nice's already.
    whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return whole - times.idle - getattr(times, "iowait", 0.0), whole


def _sensors() -> dict[str, Any]:
    read: Any = getattr(psutil, "sensors_temperatures", None)
    try:
        return {} if read is None else dict(read())
    except OSError:
        return {}


def _disk_free_bytes(folder: Path) -> int | None:
    try:
        return int(psutil.disk_usage(str(folder)).free)
    except OSError:
        return None
