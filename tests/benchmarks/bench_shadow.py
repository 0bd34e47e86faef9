"""What a candidate's shadow costs the frames that are being watched.

One camera that always has a next frame keeps the detector busy, so whatever the candidate
takes is taken from the incumbent. Windows with the shadow, after its share has settled, and
windows without one are taken in turns.
"""

from __future__ import annotations

import os
import statistics
import tempfile
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
    in_turns,
    median_ratio,
    row,
    spread,
)

WINDOW_S = 8.0
SETTLE_S = 8.0
TURNS = 10
SLOT = "bench"
RATE_SHARE_MIN = 0.98
INTERVAL_MAX = 0.04
"""How wide the 95 % interval of a median ratio may be for the figure to say anything."""
FRAME_SHAPE = (480, 640, 3)


@dataclass(frozen=True)
class Measured:
    """Answers per second of the incumbent with and without a shadow, by turns."""

    with_fps: list[float]
    without_fps: list[float]
    looked: int


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


def measure(**made_of: Any) -> Measured:
    """Windows in turns. Raises Unavailable where the weights are not there."""
    from protocol.messages import ShadowPolicy

    looked = 0
    with tempfile.TemporaryDirectory() as name:
        incumbent, candidate = _bundles(Path(name), **made_of)
        with _watching(incumbent) as (shadowing, ledger):

            def fps() -> float:
                started_s, before = time.monotonic(), ledger.account("cam").inferred
                time.sleep(WINDOW_S)
                answers = ledger.account("cam").inferred - before
                return float(answers / (time.monotonic() - started_s))

            def shadowed() -> float:
                nonlocal looked
                shadowing.begin(SLOT, candidate, ShadowPolicy())
                time.sleep(SETTLE_S)
                rate = fps()
                looked += shadowing.counts(SLOT).frames
                shadowing.end(SLOT)
                return rate

            time.sleep(1.0)
            turns = int(os.environ.get("BENCH_SHADOW_TURNS", TURNS))
            with_fps, without_fps = in_turns(shadowed, fps, turns)
        for bundle in (incumbent, candidate):
            bundle.detector.close()
    return Measured(with_fps, without_fps, looked)


def incumbent_rate_share() -> Row:
    """The real model, and beside it a tiny one, where Python is what the frames wait for."""
    data = weights().read_bytes()
    real = measure(input_size=640, class_names=class_names(), model_data=data)
    return judged(real, measure())


def judged(real: Measured, tiny: Measured) -> Row:
    """The row of both. Raises Unavailable where the figures say nothing.

    A shadow that saw no frame costs nothing. A rate that changes by itself hides a cost of 2 %
    unless there are many turns, of which the interval tells.
    """
    low, high = _interval(real)
    for name, found in (("real", real), ("tiny", tiny)):
        width = _interval(found)[1] - _interval(found)[0]
        if width > INTERVAL_MAX:
            raise Unavailable(
                f"the ratio of the {name} model is known to {width:.1%} only; let nothing else "
                "run beside it"
            )
        if found.looked < len(found.with_fps):
            raise Unavailable(f"the candidate of the {name} model saw {found.looked} frames only")
    return row(
        "shadow.incumbent_rate_share",
        median_ratio(real.with_fps, real.without_fps),
        f">= {RATE_SHARE_MIN}",
        with_fps=spread(real.with_fps),
        without_fps=spread(real.without_fps),
        frames_looked_at=real.looked,
        tiny_share=median_ratio(tiny.with_fps, tiny.without_fps),
        tiny_with_fps=statistics.median(tiny.with_fps),
        tiny_without_fps=statistics.median(tiny.without_fps),
        tiny_frames_looked_at=tiny.looked,
        interval=[low, high],
        tiny_interval=list(_interval(tiny)),
        note=(
            "answers per second of the incumbent under full load with a candidate in its shadow "
            f"÷ without, in turns; the candidate looked at {real.looked} frames"
        ),
    )


def _interval(found: Measured) -> tuple[float, float]:
    """95 % interval of the median of neighbouring windows' ratios."""
    pairs = zip(found.with_fps, found.without_fps, strict=True)
    return bootstrap_interval([shadowed / alone for shadowed, alone in pairs])


BENCHES: dict[str, Bench] = {"shadow.incumbent_rate_share": incumbent_rate_share}
