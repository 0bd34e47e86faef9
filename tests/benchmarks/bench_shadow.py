"""What a candidate's shadow costs the frames that are being watched.

One camera that always has a next frame keeps the detector busy, so whatever the candidate
takes is taken from the incumbent. The agent itself cuts the time into stretches with the
shadow and without it in turns. One with it is compared with both of its neighbours, which
takes the slower changes of a shared machine's speed away, and as many are as it takes to know
the mean quotient well.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks.bench_swap import Endless
from tests.benchmarks.builds import class_names, weights
from tests.benchmarks.harness import (
    Bench,
    Row,
    Unavailable,
    row,
    spread,
)

POLL_S = 0.02
SETTLE_STRETCHES, RATIOS_MIN = 10, 40
MINUTES_MAX = 12.0
SLOT = "bench"
RATE_SHARE_MIN = 0.98
INTERVAL_MAX = 0.04
"""How wide the 95 % interval of a mean ratio may be for the figure to say anything."""


@dataclass(frozen=True)
class Stretch:
    """The incumbent's answers in a stretch, and the processor time (s) of this process."""

    shadowed: bool
    fps: float
    answers_per_cpu_s: float
    shadow_cpu_share: float


@dataclass(frozen=True)
class Ratio:
    """A geometric mean of ratios, with its 95 % interval (twice the standard error)."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def is_known(self) -> bool:
        return self.count >= RATIOS_MIN and self.high - self.low <= INTERVAL_MAX


@dataclass(frozen=True)
class Measured:
    """Stretches in their order, with and without the shadow in turns."""

    stretches: list[Stretch]
    looked: int
    share: float

    def ratio(self, figure: Callable[[Stretch], float]) -> Ratio:
        """Of a figure with the shadow to its two neighbours without."""
        logs = [math.log(figure(stretch)) for stretch in self.stretches]
        found = [
            logs[at] - (logs[at - 1] + logs[at + 1]) / 2
            for at in range(1, len(logs) - 1)
            if self.stretches[at].shadowed
        ]
        if len(found) < 2:
            return Ratio(math.nan, 0.0, math.inf, len(found))
        mean, error = statistics.fmean(found), statistics.stdev(found) / math.sqrt(len(found))
        low, middle, high = (math.exp(mean + 2 * sign * error) for sign in (-1, 0, 1))
        return Ratio(middle, low, high, len(found))

    @property
    def rate(self) -> Ratio:
        return self.ratio(lambda stretch: stretch.fps)

    def of(self, shadowed: bool) -> list[Stretch]:
        return [stretch for stretch in self.stretches if stretch.shadowed is shadowed]


@contextmanager
def _watching(incumbent: Any) -> Iterator[tuple[Any, Any]]:
    """A busy pipeline that `incumbent` serves: its shadow's sink, and its ledger."""
    from edge_agent.cameras.source import CameraSpec
    from edge_agent.clock import Clock
    from edge_agent.harvest.sink import HarvestSink
    from edge_agent.ledger import Ledger
    from edge_agent.pipeline import Pipeline
    from edge_agent.update.shadowing import Shadowing
    from edge_agent.update.slot import Slot
    from protocol.messages import HarvestPolicy

    slot, ledger = Slot(SLOT), Ledger(["cam"])
    harvest = HarvestSink(HarvestPolicy(), Random(1), lambda _sample: None)
    shadowing = Shadowing(RATE_SHARE_MIN, Random(1), harvest.disagreed)
    pipeline = Pipeline(
        [CameraSpec("cam", "memory", SLOT, live=False)],
        {SLOT: slot},
        [shadowing, harvest],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        open_source=lambda *_: Endless(),
    )
    slot.exchange(incumbent)
    pipeline.start()
    try:
        yield shadowing, ledger
    finally:
        pipeline.stop()


def _bundles(folder: Path, **made_of: Any) -> tuple[Any, Any]:
    """An incumbent and a candidate of the same weights, loaded as the agent loads them."""
    from edge_agent.detect.bundle import load_bundle
    from edge_agent.detect.options import LoadOptions, streams_for
    from edge_agent.pipeline import PipelineLimits
    from tests.fixtures.models import write_bundle

    options = LoadOptions(streams=streams_for([False], PipelineLimits().streams_max))
    loaded = []
    for version in (1, 2):
        target = folder / str(version)
        digest, _ = write_bundle(target, version=version, **made_of)
        loaded.append(load_bundle(target, digest, options))
    return loaded[0], loaded[1]


class _Watch:
    """Reads off, as it polls, what became of each stretch that is over."""

    def __init__(self, shadowing: Any, ledger: Any) -> None:
        self._shadowing, self._ledger = shadowing, ledger
        [self._thread] = [
            Path(f"/proc/self/task/{thread.native_id}/schedstat")
            for thread in threading.enumerate()
            if thread.name == f"shadow-{SLOT}"
        ]
        self._counts, self._before = shadowing.counts(SLOT), self._read()
        self.stretches: list[Stretch] = []

    def _read(self) -> tuple[float, float, int]:
        shadow_cpu_s = int(self._thread.read_text().split()[0]) / 1e9
        return time.process_time(), shadow_cpu_s, self._ledger.account("cam").inferred

    def poll(self) -> bool:
        """Whether a stretch has ended since."""
        counts, old = self._shadowing.counts(SLOT), self._counts
        shadowed = counts.with_s - old.with_s
        seconds = shadowed or counts.without_s - old.without_s
        if not seconds:
            return False
        answers = counts.with_frames + counts.without_frames - old.with_frames - old.without_frames
        (cpu_s, own_s, seen), (cpu_before_s, own_before_s, seen_before) = self._read(), self._before
        spent_s = cpu_s - cpu_before_s
        self.stretches.append(
            Stretch(
                shadowed > 0,
                answers / seconds,
                (seen - seen_before) / spent_s,
                (own_s - own_before_s) / spent_s,
            )
        )
        self._counts, self._before = counts, (cpu_s, own_s, seen)
        return True

    def measured(self) -> Measured:
        counts = self._shadowing.counts(SLOT)
        share = counts.frames / max(1, counts.with_frames + counts.without_frames)
        return Measured(self.stretches[SETTLE_STRETCHES:], counts.frames, share)


def measure(**made_of: Any) -> Measured:
    """Stretches until their ratio is known, or the time is up."""
    from protocol.messages import ShadowPolicy

    minutes = float(os.environ.get("BENCH_SHADOW_MINUTES", MINUTES_MAX))
    with tempfile.TemporaryDirectory() as name:
        incumbent, candidate = _bundles(Path(name), **made_of)
        with _watching(incumbent) as (shadowing, ledger):
            time.sleep(1.0)
            shadowing.begin(SLOT, candidate, ShadowPolicy())
            watch, until_s = _Watch(shadowing, ledger), time.monotonic() + minutes * 60
            found = watch.measured()
            while time.monotonic() < until_s:
                time.sleep(POLL_S)
                if not watch.poll():
                    continue
                found = watch.measured()
                if found.rate.is_known:
                    break
            shadowing.end(SLOT)
        for bundle in (incumbent, candidate):
            bundle.detector.close()
    return found


def incumbent_rate_share() -> Row:
    """Of the real model."""
    data = weights().read_bytes()
    found = measure(input_size=640, class_names=class_names(), model_data=data)
    return judged("shadow.incumbent_rate_share", found)


def incumbent_rate_share_tiny() -> Row:
    """Of a tiny model, where Python is what the frames wait for."""
    return judged("shadow.incumbent_rate_share_tiny", measure())


def judged(name: str, found: Measured) -> Row:
    """The row. Raises Unavailable where the figures say nothing.

    A shadow that saw no frame costs nothing. A rate that changes by itself hides a cost of 2 %
    unless there are many stretches, of which the interval tells.
    """
    rate = found.rate
    if not rate.is_known:
        raise Unavailable(
            f"after {rate.count} stretches the ratio lies between {rate.low:.3f} and "
            f"{rate.high:.3f}; let nothing else run beside it"
        )
    if found.looked < rate.count / 10:
        raise Unavailable(f"the candidate saw {found.looked} frames only")
    return row(
        name,
        rate.mean,
        f">= {RATE_SHARE_MIN}",
        **_detail(found),
        note=(
            "answers per second of the incumbent under full load in stretches with a candidate in "
            "its shadow ÷ in the two beside it without: geometric mean of "
            f"{rate.count} stretches, 95 % interval {rate.low:.3f} to {rate.high:.3f}; the "
            "stretches without are half of all, so over the whole time of a shadow it is "
            f"{(1 + rate.mean) / 2:.3f}; the candidate saw {found.looked} frames, one in "
            f"{1 / found.share:.0f}"
        ),
    )


def _detail(found: Measured) -> dict[str, Any]:
    shadowed, alone = found.of(True), found.of(False)
    return {
        "rate_share": asdict(found.rate),
        "answers_per_cpu_s_share": asdict(found.ratio(lambda s: s.answers_per_cpu_s)),
        "fps_with": spread([stretch.fps for stretch in shadowed]),
        "fps_without": spread([stretch.fps for stretch in alone]),
        "shadow_cpu_share": statistics.fmean([s.shadow_cpu_share for s in shadowed]),
        "frames_looked_at": found.looked,
    }


BENCHES: dict[str, Bench] = {
    "shadow.incumbent_rate_share": incumbent_rate_share,
    "shadow.incumbent_rate_share_tiny": incumbent_rate_share_tiny,
}
