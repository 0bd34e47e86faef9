"""How often the promotion gate is right, on simulated pairs of models."""

from __future__ import annotations

import functools

import numpy as np

from cloud.promotion import simulation
from cloud.promotion.gate import Finding, judge
from cloud.promotion.policy import GatePolicy
from cloud.promotion.simulation import World
from tests.benchmarks.gate_cells import Judged, measure
from tests.benchmarks.harness import Bench, Row, row

GATES = 200
ROUNDS = 300
SIZES = (150, 300, 600)
BOARDS = 150
QUALITY = 0.97
LESSER = ((0.95, 150), (0.95, 300), (0.90, 150), (0.90, 600))
WORSE_BY = 0.05
MARGIN = GatePolicy().map50_margin
POLICY = GatePolicy(bootstrap_rounds=ROUNDS)

Cell = tuple[float, int, float]
"""mAP50 of the incumbent, images of the golden set, mAP50 that the candidate is worse."""


@functools.cache
def _world(quality: float) -> World:
    return simulation.of_quality(World(), quality)


@functools.cache
def _shift(quality: float, loss: float) -> float:
    return simulation.shift_for(_world(quality), loss)


def gates(cell: Cell, first: int, count: int) -> Judged:
    """Verdicts, and what stood in the way of each."""
    quality, images, loss = cell
    world = _world(quality)
    shift = _shift(quality, loss)
    found: Judged = []
    for number in range(first, first + count):
        rng = np.random.default_rng([round(quality * 1000), images, round(loss * 1000), number])
        candidate, incumbent = simulation.pair(world, images, rng, shift)
        result = judge(simulation.evidence(candidate, incumbent), POLICY)
        lacking = [
            c.name for c in result.components if c.finding in {Finding.HARM, Finding.UNSHOWN}
        ]
        found.append((result.verdict.value, tuple(lacking)))
    return found


def _words(cell: Cell) -> str:
    quality, images, loss = cell
    return f"mAP50 {quality:g}, {images} images, worse by {loss:g}"


def accepts_equal() -> Row:
    """Retrained models of the same worth that pass, on the circuit boards' golden set's size."""
    headline: Cell = (QUALITY, BOARDS, 0.0)
    cells = [(QUALITY, images, 0.0) for images in SIZES]
    cells += [(quality, images, 0.0) for quality, images in LESSER]
    found = measure(gates, cells, GATES, _words)
    return row(
        "gate.accepts_equal",
        found[_words(headline)]["pass"],
        ">= 0.80",
        unit="share",
        cells=found,
        rounds=ROUNDS,
        note=f"{GATES} simulated pairs a cell; 150 images, 950 boxes, 6 classes, an incumbent of "
        f"mAP50 {QUALITY:g}; at lower quality more images are needed: "
        + "; ".join(f"{name}: {cell['pass']:.2f}" for name, cell in found.items()),
    )


def accepts_worse() -> Row:
    """Models that are worse and pass; those at the margin itself are told beside it."""
    cells = [(QUALITY, images, WORSE_BY) for images in SIZES[:2]]
    cells += [(0.90, BOARDS, WORSE_BY)]
    cells += [(q, BOARDS, MARGIN) for q in (QUALITY, 0.90)]
    found = measure(gates, cells, GATES, _words)
    worst = max(cell["pass"] for name, cell in found.items() if name.endswith(f"{WORSE_BY:g}"))
    return row(
        "gate.accepts_worse",
        worst,
        "<= 0.05",
        unit="share",
        cells=found,
        rounds=ROUNDS,
        note=f"{GATES} simulated pairs a cell, {WORSE_BY:g} mAP50 worse; the worst of its cells. "
        "Worse by the margin itself: "
        + "; ".join(
            f"{name}: {cell['pass']:.2f}"
            for name, cell in found.items()
            if name.endswith(f" {MARGIN:g}")
        ),
    )


BENCHES: dict[str, Bench] = {
    "gate.accepts_equal": accepts_equal,
    "gate.accepts_worse": accepts_worse,
}
