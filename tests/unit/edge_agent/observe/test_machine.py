from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_agent.observe.gpu import AnyGpu, GpuReading
from edge_agent.observe.machine import Machine, busy_percent, hottest_c
from edge_agent.observe.reading import MachineReading
from tests.fixtures.seeing import eventually


class CountingGpu:
    def __init__(self, percent: float | None) -> None:
        self.percent, self.reads = percent, 0

    def read(self) -> GpuReading:
        self.reads += 1
        return GpuReading(self.percent, None if self.percent is None else 0, None)


def at_once(job: Callable[[], None]) -> None:
    job()


def test_the_processors_load_is_unknown_at_first_and_known_then() -> None:
    now = [0.0]
    machine = Machine(lambda: now[0], AnyGpu, at_once)
    assert machine.read().cpu_percent is None
    deadline = time.process_time() + 0.05
    while time.process_time() < deadline:
        pass
    now[0] = 1.0
    known = machine.read().cpu_percent
    assert known is not None
    assert 0 < known <= 100


def test_an_idle_machine_is_at_zero_and_not_unknown() -> None:
    assert busy_percent((5.0, 10.0), (5.0, 14.0)) == 0.0
    assert busy_percent((5.0, 10.0), (6.0, 14.0)) == 25.0
    assert busy_percent((5.0, 10.0), (5.0, 10.0)) is None
    assert busy_percent((5.0, 10.0), (4.0, 14.0)) is None
    assert busy_percent(None, (5.0, 10.0)) is None


def test_readings_are_cached_for_a_second() -> None:
    now, gpu = [0.0], CountingGpu(0.0)
    machine = Machine(lambda: now[0], lambda: AnyGpu(gpu), at_once)
    for now[0] in (0.0, 0.5, 0.99):
        assert machine.read().gpu_percent == 0.0
    assert gpu.reads == 1
    now[0] = 1.0
    machine.read()
    assert gpu.reads == 2


def test_health_reads_what_is_there_and_leaves_the_rest_unknown(tmp_path: Path) -> None:
    machine = Machine(time.monotonic, lambda: AnyGpu(CountingGpu(0.0)), at_once)
    now = machine.health(tmp_path)
    assert now.rss_bytes is not None
    assert now.rss_bytes > 1_000_000
    assert now.disk_free_bytes is not None
    assert (now.gpu_percent, now.gpu_memory_used_bytes, now.gpu_temperature_c) == (0.0, 0, None)
    assert machine.health(tmp_path / "not" / "there").disk_free_bytes is None


def test_a_driver_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    hangs, hung = threading.Event(), threading.Event()

    class HangingGpu:
        def read(self) -> GpuReading:
            hung.set()
            hangs.wait(30)
            return GpuReading(percent=7.0)

    now = [0.0]
    machine = Machine(lambda: now[0], lambda: AnyGpu(HangingGpu()))
    assert machine.read() == MachineReading()
    assert hung.wait(30)
    now[0] = 10.0
    assert machine.read() == MachineReading()
    assert machine.health(tmp_path).gpu_percent is None
    hangs.set()
    eventually(lambda: machine.read().gpu_percent == 7.0, "the reading that came late")


def test_a_reading_that_breaks_is_begun_again() -> None:
    def no_gpu() -> AnyGpu:
        raise RuntimeError("on purpose")

    jobs: list[Callable[[], None]] = []
    now = [0.0]
    machine = Machine(lambda: now[0], no_gpu, jobs.append)
    machine.read()
    with pytest.raises(RuntimeError):
        jobs[0]()
    now[0] = 1.0
    machine.read()
    assert len(jobs) == 2


@pytest.mark.parametrize(
    ("readings", "hottest"),
    [([], None), ([0.0], 0.0), ([41.0, 55.5], 55.5), ([-256.0], None), ([None, 30.0], 30.0)],
)
def test_the_hottest_sensor_counts(readings: list[float | None], hottest: float | None) -> None:
    sensors = {"chip": [SimpleNamespace(current=c) for c in readings]}
    assert hottest_c(sensors) == hottest
