"""A bundle in the real pipeline over synthetic cameras for some seconds, and its figures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import numpy as np
import psutil

from edge_agent.cameras.source import CameraSpec
from edge_agent.cli.synthetic import opener
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.ledger import ERROR, Ledger
from edge_agent.observe.windows import WindowSink
from edge_agent.pipeline import Pipeline
from edge_agent.results import FrameResult, Sink
from edge_agent.update.slot import Slot

SLOT = "trial"
POLL_S = 0.1
START_TIMEOUT_S = 30.0
WINDOW_S = 3600.0

OnProgress = Callable[[float], None]
"""Told how many seconds of the trial are over."""


@dataclass(frozen=True)
class Trial:
    """What to run: the bundle over so many cameras, from the first result on for `seconds`."""

    cameras: int = 1
    seconds: float = 3.0
    width: int = 1280
    height: int = 720


@dataclass(frozen=True)
class Percentiles:
    """Of a duration (ms)."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class TrialFigures:
    """What came of it.

    Attributes:
        seconds: that were measured.
        frames_per_s: results of all cameras.
        frames_per_s_by_camera: in order.
        latency_ms: time in runtime and head; None without a result.
        age_ms: from capture to result, waiting included.
        rss_bytes: of this process at the end, cameras' frames included.
        unaccounted: captured frames that were neither inferred nor dropped: 0 or a defect.
    """

    cameras: int
    seconds: float
    frames_per_s: float
    frames_per_s_by_camera: tuple[float, ...]
    latency_ms: Percentiles | None
    age_ms: Percentiles | None
    captured: int
    inferred: int
    dropped: dict[str, int]
    unaccounted: int
    rss_bytes: int
    cpu_percent: float | None
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def reason(self) -> str:
        """What speaks against it; empty where nothing does."""
        if self.error or self.dropped.get(ERROR, 0):
            return f"frames failed: {self.error or 'no reason given'}"
        if self.unaccounted:
            return f"{self.unaccounted} frames are unaccounted for"
        return "" if self.inferred else "no frame was answered"


class _Notes:
    """Sink that keeps durations; used by one thread."""

    name = "notes"

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.ages_ms: list[float] = []

    def take(self, result: FrameResult) -> None:
        self.latencies_ms.append(result.latency_ms)
        waited_s = result.result_monotonic - result.frame.captured_monotonic
        self.ages_ms.append(1000 * waited_s)

    def tick(self, now_s: float) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class _Measured:
    seconds: float
    frames_per_s_by_camera: tuple[float, ...]
    rss_bytes: int
    cpu_percent: float | None


def run_trial(
    bundle: LoadedBundle, trial: Trial, on_progress: OnProgress = lambda _seconds: None
) -> TrialFigures:
    """Run the trial with statistics on, as the agent would; the bundle stays loaded."""
    cameras = [f"synthetic-{i}" for i in range(trial.cameras)]
    ledger, ending, notes = Ledger(cameras), threading.Event(), _Notes()
    slot = Slot(SLOT)
    slot.exchange(bundle)
    sinks: list[Sink] = [WindowSink(WINDOW_S, ledger, lambda *_window: None), notes]
    pipeline = Pipeline(
        [CameraSpec(camera, "synthetic", SLOT) for camera in cameras],
        {SLOT: slot},
        sinks,
        ledger=ledger,
        clock=Clock(),
        rng=Random(0),  # noqa: S311 - backoff of cameras that never fail
        open_source=opener(trial.width, trial.height, ending),
    )
    pipeline.start()
    try:
        measured = _measure(ledger, cameras, trial.seconds, on_progress)
    finally:
        ending.set()
        pipeline.stop()
    accounts = [ledger.account(camera) for camera in cameras]
    dropped: Counter[str] = Counter()
    for account in accounts:
        dropped.update(account.dropped)
    return TrialFigures(
        cameras=len(cameras),
        frames_per_s=round(sum(measured.frames_per_s_by_camera), 2),
        latency_ms=_percentiles(notes.latencies_ms),
        age_ms=_percentiles(notes.ages_ms),
        captured=sum(a.captured for a in accounts),
        inferred=sum(a.inferred for a in accounts),
        dropped=dict(dropped),
        unaccounted=sum(a.in_flight for a in accounts),
        error=pipeline.errors().get(SLOT, ""),
        **vars(measured),
    )


def _measure(
    ledger: Ledger, cameras: Sequence[str], wanted_s: float, on_progress: OnProgress
) -> _Measured:
    """Watch a running pipeline, from the first answered frame on."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not any(_answered(ledger, cameras)) and time.monotonic() < deadline_s:
        time.sleep(POLL_S / 10)
    process = psutil.Process()
    process.cpu_percent()
    before, began_s = _inferred(ledger, cameras), time.monotonic()
    while (gone_s := time.monotonic() - began_s) < wanted_s:
        on_progress(gone_s)
        time.sleep(min(POLL_S, wanted_s - gone_s))
    after, seconds = _inferred(ledger, cameras), time.monotonic() - began_s
    on_progress(seconds)
    return _Measured(
        seconds=round(seconds, 3),
        frames_per_s_by_camera=tuple(
            round((b - a) / seconds, 2) for a, b in zip(before, after, strict=True)
        ),
        rss_bytes=process.memory_info().rss,
        cpu_percent=process.cpu_percent(),
    )


def _inferred(ledger: Ledger, cameras: Sequence[str]) -> list[int]:
    return [ledger.account(camera).inferred for camera in cameras]


def _answered(ledger: Ledger, cameras: Sequence[str]) -> list[int]:
    accounts = [ledger.account(camera) for camera in cameras]
    return [a.inferred + a.dropped.get(ERROR, 0) for a in accounts]


def _percentiles(found_ms: Sequence[float]) -> Percentiles | None:
    if not found_ms:
        return None
    return Percentiles(*(round(float(p), 3) for p in np.percentile(found_ms, (50, 95, 99, 100))))
