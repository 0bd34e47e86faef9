"""How often a wave's gate is right, on simulated waves of cameras; and what a look costs."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from cloud.promotion import simulation
from cloud.promotion.gate import Finding
from cloud.rollouts.gating.evidence import read_windows
from cloud.rollouts.gating.judging import judge
from cloud.rollouts.gating.policy import GatePolicy
from cloud.rollouts.gating.simulation import Scene, wave
from protocol.histograms import confidence_histogram, milliseconds_histogram
from protocol.messages import TelemetryReport, encode
from protocol.windows import ClassStats, WindowStats
from tests.benchmarks.gate_cells import Judged, measure
from tests.benchmarks.harness import Bench, Row, row

GATES = 100
WORSE_BY = 0.05
POLICY = GatePolicy()
BEFORE = 360
LOOK_CAMERAS, LOOK_WINDOWS, LOOK_TURNS = 50, 200, 3


@dataclass(frozen=True)
class Cell:
    """One kind of wave: windows of a minute at 5 frames a second, six hours of baseline."""

    quality: float
    cameras: int
    controls: int
    after: int
    loss: float = 0.0

    def words(self) -> str:
        what = f"worse by {self.loss:g}" if self.loss else "equal"
        return (
            f"mAP50 {self.quality:g}, {self.cameras} cameras, {self.controls} controls, "
            f"{self.after} min ({self.after * Scene().frames} frames each), {what}"
        )


HEADLINE = Cell(0.9, 20, 20, 60)
OTHERS = (
    Cell(0.6, 10, 10, 60),
    Cell(0.8, 10, 10, 60),
    Cell(0.97, 10, 10, 60),
    Cell(0.9, 3, 3, 60),
    Cell(0.9, 10, 0, 60),
    Cell(0.9, 20, 20, 15),
)


@functools.cache
def _scene(quality: float) -> Scene:
    scene = Scene()
    return replace(scene, world=simulation.of_quality(scene.world, quality))


@functools.cache
def _shift(quality: float, loss: float) -> float:
    return simulation.shift_for(_scene(quality).world, loss)


def gates(cell: Cell, first: int, count: int) -> Judged:
    """Verdicts of the first test, and what stood in the way of each."""
    found: Judged = []
    for number in range(first, first + count):
        key = [round(cell.quality * 1000), cell.cameras, cell.after, round(cell.loss * 1000)]
        evidence = wave(
            _scene(cell.quality),
            np.random.default_rng([*key, number]),
            cameras=cell.cameras,
            controls=cell.controls,
            before=BEFORE,
            after=cell.after,
            shift=_shift(cell.quality, cell.loss),
        )
        result = judge(evidence, POLICY, 1)
        lacking = [
            f"{c.kind} of one camera" if c.camera else c.name
            for c in result.components
            if c.finding in {Finding.HARM, Finding.UNSHOWN}
        ]
        found.append((result.verdict.value, tuple(dict.fromkeys(lacking))))
    return found


def _told(found: dict[str, dict[str, Any]]) -> str:
    return "; ".join(
        f"{name}: PASS {cell['pass']:.2f}, FAIL {cell['fail']:.2f}, "
        f"INCONCLUSIVE {cell['inconclusive']:.2f}"
        for name, cell in found.items()
    )


def accepts_equal() -> Row:
    """Builds of the same worth that pass, where a wave has controls and an hour."""
    found = measure(gates, [HEADLINE, *OTHERS], GATES, Cell.words)
    return row(
        "rollout.gate_accepts_equal",
        found[HEADLINE.words()]["pass"],
        ">= 0.80",
        unit="share",
        cells=found,
        note=f"{GATES} simulated waves a cell, default margins, the first test; {_told(found)}",
    )


def accepts_worse() -> Row:
    """Builds that are worse and pass all the same: the worst of all cells."""
    worse = [replace(cell, loss=WORSE_BY) for cell in (HEADLINE, *OTHERS)]
    found = measure(gates, worse, GATES, Cell.words)
    return row(
        "rollout.gate_accepts_worse",
        max(cell["pass"] for cell in found.values()),
        "<= 0.05",
        unit="share",
        cells=found,
        note=f"{GATES} simulated waves a cell, {WORSE_BY:g} mAP50 worse, the worst of its cells; "
        f"{_told(found)}",
    )


def _messages(count: int) -> list[tuple[float, float, str]]:
    """Windows as they are stored, of six classes."""
    rng = np.random.default_rng(1)
    rows = []
    for n in range(count):
        seen = {
            k: ClassStats(calibrated=confidence_histogram().add(rng.random(60).tolist()))
            for k in range(6)
        }
        stats = WindowStats(
            frames_captured=300,
            frames_inferred=300,
            classes=seen,
            latency_ms=milliseconds_histogram().add(rng.normal(20, 2, 300).tolist()),
        )
        report = TelemetryReport(
            device_id="dev", epoch="ab" * 16, sequence=n + 1, camera="cam", slot="caps",
            bundle_digest="1" * 64, window_start=60.0 * n, window_end=60.0 * (n + 1), stats=stats,
        )  # fmt: skip
        rows.append((60.0 * n, 60.0 * (n + 1), encode(report).decode()))
    return rows


def look_s() -> Row:
    """Read 50 cameras' 200 windows from their messages, and judge them."""
    texts = _messages(LOOK_WINDOWS)
    evidence = wave(
        _scene(0.9), np.random.default_rng(1), cameras=LOOK_CAMERAS, controls=0,
        before=LOOK_WINDOWS // 2, after=LOOK_WINDOWS // 2,
    )  # fmt: skip
    reads, judges = [], []
    for _ in range(LOOK_TURNS):
        start = time.perf_counter()
        for _ in range(LOOK_CAMERAS):
            read_windows(texts)
        middle = time.perf_counter()
        judge(evidence, POLICY, 1)
        reads.append(middle - start)
        judges.append(time.perf_counter() - middle)
    return row(
        "rollout.gate_look_s",
        median(a + b for a, b in zip(reads, judges, strict=True)),
        "<= 2.0",
        unit="s",
        read_s=reads,
        judge_s=judges,
        note=f"{LOOK_CAMERAS} cameras of {LOOK_WINDOWS} windows each, from JSON to the verdict; "
        f"without the database's part",
    )


BENCHES: dict[str, Bench] = {
    "rollout.gate_accepts_equal": accepts_equal,
    "rollout.gate_accepts_worse": accepts_worse,
    "rollout.gate_look_s": look_s,
}
