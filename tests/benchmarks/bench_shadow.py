"""What a candidate's shadow costs the frames that are being watched.

One camera that always has a next frame keeps the detector busy, so whatever the candidate
takes is taken from the incumbent. The agent itself cuts the time into stretches with the
shadow and without it in turns; neighbours are compared, as many as it takes to know the
quotient well, since the speed of a shared machine changes from one second to the next.
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
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks.bench_swap import Endless
from tests.benchmarks.builds import class_names, weights
from tests.benchmarks.harness import (
    Bench,
    Row,
    Unavailable,
    bootstrap_interval,
    row,
    spread,
)

POLL_S = 0.02
SETTLE_PAIRS, PAIRS_MIN = 5, 40
MINUTES_MAX = 12.0
SLOT = "bench"
RATE_SHARE_MIN = 0.98
INTERVAL_MAX = 0.04
"""How wide the 95 % interval of a median ratio may be for the figure to say anything."""


@dataclass(frozen=True)
class Stretch:
    """The incumbent's answers in a stretch, and the processor time (s) of this process."""

    fps: float
    answers_per_cpu_s: float
    shadow_cpu_share: float


@dataclass(frozen=True)
class Measured:
    """Stretches with and without the shadow, neighbours at the same place."""

    shadowed: list[Stretch]
    alone: list[Stretch]
    looked: int
    share: float

    @property
    def ratios(self) -> list[float]:
        """Of the incumbent's rates, with the shadow ÷ without."""
        pairs = zip(self.shadowed, self.alone, strict=True)
        return [shadowed.fps / alone.fps for shadowed, alone in pairs]

    @property
    def cpu_ratios(self) -> list[float]:
        """Of its answers per second of processor time that the process got."""
        pairs = zip(self.shadowed, self.alone, strict=True)
        return [a.answers_per_cpu_s / b.answers_per_cpu_s for a, b in pairs]

    @property
    def interval(self) -> tuple[float, float]:
        return bootstrap_interval(self.ratios)

    @property
    def is_known(self) -> bool:
        low, high = self.interval
        return high - low <= INTERVAL_MAX


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
        self.shadowed: list[Stretch] = []
        self.alone: list[Stretch] = []

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
        stretch = Stretch(
            answers / seconds, (seen - seen_before) / spent_s, (own_s - own_before_s) / spent_s
        )
        (self.shadowed if shadowed else self.alone).append(stretch)
        self._counts, self._before = counts, (cpu_s, own_s, seen)
        return True

    def measured(self) -> Measured:
        counts, ends = self._shadowing.counts(SLOT), min(len(self.shadowed), len(self.alone))
        return Measured(
            self.shadowed[SETTLE_PAIRS:ends],
            self.alone[SETTLE_PAIRS:ends],
            counts.frames,
            counts.frames / max(1, counts.with_frames + counts.without_frames),
        )


def measure(**made_of: Any) -> Measured:
    """Pairs of stretches until their ratio is known, or the time is up."""
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
                # Seldom, for it computes beside what is measured.
                if len(found.ratios) >= PAIRS_MIN and not len(watch.alone) % 10 and found.is_known:
                    break
            shadowing.end(SLOT)
        for bundle in (incumbent, candidate):
            bundle.detector.close()
    return found


def incumbent_rate_share() -> Row:
    """The real model, and beside it a tiny one, where Python is what the frames wait for."""
    data = weights().read_bytes()
    real = measure(input_size=640, class_names=class_names(), model_data=data)
    return judged(real, measure())


def judged(real: Measured, tiny: Measured) -> Row:
    """The row of both. Raises Unavailable where the figures say nothing.

    A shadow that saw no frame costs nothing. A rate that changes by itself hides a cost of 2 %
    unless there are many pairs, of which the interval tells.
    """
    for name, found in (("real", real), ("tiny", tiny)):
        if len(found.ratios) < PAIRS_MIN or not found.is_known:
            low, high = found.interval if found.ratios else (0.0, 0.0)
            raise Unavailable(
                f"after {len(found.ratios)} pairs the ratio of the {name} model lies between "
                f"{low:.3f} and {high:.3f}; let nothing else run beside it"
            )
        if found.looked < len(found.ratios) / 10:
            raise Unavailable(f"the candidate of the {name} model saw {found.looked} frames only")
    return row(
        "shadow.incumbent_rate_share",
        statistics.median(real.ratios),
        f">= {RATE_SHARE_MIN}",
        **_detail(real),
        **{f"tiny_{name}": value for name, value in _detail(tiny).items()},
        note=(
            "answers per second of the incumbent under full load in stretches with a candidate in "
            "its shadow ÷ in those without, neighbours; the stretches without one are half of "
            f"all; the candidate looked at {real.looked} frames, one in {1 / real.share:.0f}"
        ),
    )


def _detail(found: Measured) -> dict[str, Any]:
    return {
        "rate_share": spread(found.ratios),
        "interval": list(found.interval),
        "fps_with": spread([stretch.fps for stretch in found.shadowed]),
        "fps_without": spread([stretch.fps for stretch in found.alone]),
        "answers_per_cpu_s_share": statistics.median(found.cpu_ratios),
        "answers_per_cpu_s_interval": list(bootstrap_interval(found.cpu_ratios)),
        "shadow_cpu_share": statistics.fmean([s.shadow_cpu_share for s in found.shadowed]),
        "frames_looked_at": found.looked,
    }


BENCHES: dict[str, Bench] = {"shadow.incumbent_rate_share": incumbent_rate_share}
