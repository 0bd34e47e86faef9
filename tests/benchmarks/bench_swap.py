"""What a hot swap costs the frames that are being watched: the gap, and frames lost.

One camera that always has a next frame keeps the detector busy. Windows of 2 s with a swap
(load and warm on another thread, exchange, release) and without one are taken in turns.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from edge_agent.allocator import keep_few_arenas
from edge_agent.cameras.source import Grab
from tests.benchmarks.builds import class_names
from tests.benchmarks.harness import Bench, Row, row, shared_data, spread
from tests.benchmarks.soak import memory_slope
from tests.benchmarks.whole_agent import rss_bytes

WINDOW_S = 2.0
LEAD_S = 0.5
SWAPS = 100
WEIGHTS = Path("weights/yolo26n-reconstructed-e2e-640.onnx")
FRAME_SHAPE = (480, 640, 3)


@dataclass(frozen=True)
class Measured:
    """Largest gaps per window (ms) of both kinds, and what became of the frames and the memory.

    `rss_mib` is the resident memory after each swap.
    """

    with_swap_ms: list[float]
    without_ms: list[float]
    period_ms: float
    frames: int
    dropped: int
    load_ms: list[float]
    rss_mib: list[float]


class Endless:
    """A source that always has a next frame, a few different ones in turn."""

    fps: float | None = None

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._frames = [rng.integers(0, 256, FRAME_SHAPE, dtype=np.uint8) for _ in range(8)]
        self._index = -1

    def read(self, decode: bool = True) -> Grab:  # noqa: ARG002 - there is nothing to decode
        self._index += 1
        return Grab(self._frames[self._index % len(self._frames)], self._index)

    def close(self) -> None: ...


class _Recorder:
    """Sink that keeps when each answer was there, and to which frame."""

    name = "recorder"

    def __init__(self) -> None:
        self.times: list[float] = []
        self.indexes: list[int] = []

    def take(self, result: Any) -> None:
        self.indexes.append(result.frame.index)
        self.times.append(result.result_monotonic)

    def tick(self, now_s: float) -> None: ...

    def close(self) -> None: ...


@contextmanager
def _watching(folder: Path) -> Iterator[tuple[Any, Any, _Recorder]]:
    from edge_agent.cameras.source import CameraSpec
    from edge_agent.clock import Clock
    from edge_agent.ledger import Ledger
    from edge_agent.pipeline import Pipeline
    from edge_agent.update.slot import Slot

    slot, ledger, recorder = Slot("bench"), Ledger(["cam"]), _Recorder()
    pipeline = Pipeline(
        [CameraSpec("cam", str(folder), "bench", live=False)],
        {"bench": slot},
        [recorder],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        open_source=lambda *_: Endless(),
    )
    pipeline.start()
    try:
        yield slot, ledger, recorder
    finally:
        pipeline.stop()


def _bundles(folder: Path) -> list[tuple[Path, str]]:
    """The same weights as two bundles."""
    from tests.fixtures.models import write_bundle

    data = (shared_data() / WEIGHTS).read_bytes()
    names = class_names()
    made = []
    for version in (1, 2):
        target = folder / str(version)
        digest, _ = write_bundle(
            target, version=version, input_size=640, class_names=names, model_data=data
        )
        made.append((target, digest))
    return made


def _swap(slot: Any, bundle: tuple[Path, str], took_ms: list[float]) -> None:
    from edge_agent.detect.bundle import load_bundle
    from edge_agent.update.memory import give_back
    from edge_agent.update.quiet import quiet

    started = time.monotonic()
    with quiet():
        loaded = load_bundle(*bundle, _options())
    took_ms.append((time.monotonic() - started) * 1000)
    previous = slot.exchange(loaded)
    if previous is not None:
        slot.release(previous)
    give_back()


def _options() -> Any:
    """As the agent loads for a source that waits."""
    from edge_agent.detect.options import LoadOptions, streams_for
    from edge_agent.pipeline import PipelineLimits

    return LoadOptions(streams=streams_for([False], PipelineLimits().streams_max))


def _window(recorder: _Recorder) -> tuple[float, float]:
    started = time.monotonic()
    time.sleep(WINDOW_S)
    return started, time.monotonic()


def _largest_gap_ms(times: np.ndarray[Any, Any], window: tuple[float, float]) -> float:
    """The largest time between answers that overlaps the window's inside."""
    first = max(0, int(np.searchsorted(times, window[0])) - 1)
    last = int(np.searchsorted(times, window[1]))
    return float(np.diff(times[first : last + 1]).max() * 1000)


@lru_cache(maxsize=1)
def measure() -> Measured:
    """All windows, once for all rows; with the allocator as the agent sets it."""
    keep_few_arenas()
    swaps = int(os.environ.get("BENCH_SWAPS", SWAPS))
    load_ms: list[float] = []
    rss_mib: list[float] = []
    windows: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = _bundles(folder)
        with _watching(folder) as (slot, ledger, recorder):
            _swap(slot, bundles[0], [])
            _window(recorder)
            for turn in range(swaps):
                for swapping in (turn % 2 == 0, turn % 2 == 1):
                    if swapping:
                        bundle = bundles[(turn + 1) % 2]
                        timer = threading.Timer(LEAD_S, _swap, (slot, bundle, load_ms))
                        timer.start()
                    windows[swapping].append(_window(recorder))
                    if swapping:
                        timer.join()
                        rss_mib.append(rss_bytes(os.getpid()) / 2**20)
        account = ledger.account("cam")
        dropped = sum(n for cause, n in account.dropped.items() if cause != "stopped")
        missed = recorder.indexes[-1] + 1 - recorder.indexes[0] - len(recorder.indexes)
    times = np.asarray(recorder.times)
    return Measured(
        with_swap_ms=[_largest_gap_ms(times, w) for w in windows[True]],
        without_ms=[_largest_gap_ms(times, w) for w in windows[False]],
        period_ms=float(np.median(np.diff(times)) * 1000),
        frames=len(times),
        dropped=dropped + missed,
        load_ms=load_ms,
        rss_mib=rss_mib,
    )


def gap_ratio() -> Row:
    found = measure()
    ratio = statistics.median(found.with_swap_ms) / statistics.median(found.without_ms)
    bound_ms = 2 * found.period_ms + max(found.without_ms)
    result = row(
        "swap.gap_ratio",
        ratio,
        "<= 1.25",
        with_swap_ms=spread(found.with_swap_ms),
        without_ms=spread(found.without_ms),
        frame_period_ms=found.period_ms,
        largest_allowed_ms=bound_ms,
        load_and_warm_ms=spread(found.load_ms),
        swaps=len(found.with_swap_ms),
        note=(
            "largest gap between answers in 2 s with a swap ÷ without, medians; holds only if "
            f"also no swap's gap is above {bound_ms:.0f} ms (two frame periods above the "
            f"control's largest); the largest was {max(found.with_swap_ms):.0f} ms; medians "
            f"{statistics.median(found.with_swap_ms):.0f} and "
            f"{statistics.median(found.without_ms):.0f} ms over {len(found.with_swap_ms)} windows "
            f"each, frame period {found.period_ms:.0f} ms"
        ),
    )
    holds = result.holds and max(found.with_swap_ms) <= bound_ms
    return Row(result.name, result.value, result.unit, result.goal, holds, result.detail)


def memory_growth() -> Row:
    """The slope over the second half of the swaps, as the soak takes it over time."""
    found = measure()
    slope = memory_slope([(swap * 3600.0, mib) for swap, mib in enumerate(found.rss_mib)])
    result = row(
        "swap.memory_growth",
        slope.growth_mib,
        f"<= {2 * slope.noise_mib:.2f}",
        unit="MiB",
        mib_per_swap=slope.mib_per_hour,
        interval_95=list(slope.interval_95),
        noise_mib=slope.noise_mib,
        swaps=len(found.rss_mib),
        rss_mib=spread(found.rss_mib),
        note=(
            f"over the second half of {len(found.rss_mib)} swaps; the goal is twice the samples' "
            f"own spread; {slope.mib_per_hour:.2f} MiB a swap, 95 % interval "
            f"{slope.interval_95[0]:.2f} to {slope.interval_95[1]:.2f}"
        ),
    )
    return Row(
        result.name, result.value, result.unit, result.goal, slope.within_noise, result.detail
    )


def frames_dropped() -> Row:
    found = measure()
    return row(
        "swap.frames_dropped",
        float(found.dropped),
        "== 0",
        unit="frames",
        frames=found.frames,
        swaps=len(found.with_swap_ms),
        note=f"{len(found.with_swap_ms)} swaps, {found.frames:,} frames",
    )


BENCHES: dict[str, Bench] = {
    "swap.gap_ratio": gap_ratio,
    "swap.frames_dropped": frames_dropped,
    "swap.memory_growth": memory_growth,
}
