"""Gates judged many times in each cell of a table, over all cores, and what their verdicts are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from cloud.promotion import simulation

WORKERS = max(1, min(8, os.cpu_count() or 1))

Cell = TypeVar("Cell")
Judged = list[tuple[str, tuple[str, ...]]]
"""A verdict each, with the names of what stood in its way."""
JudgeCell = Callable[[Cell, int, int], Judged]
"""Judges a cell's gates, from which number on and how many; a function that can be pickled."""


def measure(
    judge_cell: JudgeCell[Cell], cells: Sequence[Cell], count: int, words: Callable[[Cell], str]
) -> dict[str, dict[str, Any]]:
    """Share of PASS, FAIL and INCONCLUSIVE in each cell, by its words; of PASS with its 95 %
    interval."""
    step = max(1, count // (2 * WORKERS))
    pieces = [
        (c, first, min(step, count - first)) for c in cells for first in range(0, count, step)
    ]
    with ProcessPoolExecutor(WORKERS) as pool:
        parts = list(pool.map(judge_cell, *zip(*pieces, strict=True)))
    by_cell: dict[Cell, Judged] = {}
    for (cell, _, _), part in zip(pieces, parts, strict=True):
        by_cell.setdefault(cell, []).extend(part)
    return {words(cell): _summary(found) for cell, found in by_cell.items()}


def _summary(found: Judged) -> dict[str, Any]:
    verdicts = [verdict for verdict, _ in found]
    share, low, high = simulation.acceptance(verdicts)
    return {
        "pass": share,
        "interval_95": [round(low, 4), round(high, 4)],
        "fail": simulation.acceptance(verdicts, "FAIL")[0],
        "inconclusive": simulation.acceptance(verdicts, "INCONCLUSIVE")[0],
        "gates": len(found),
        "in_the_way": dict(Counter(n for _, lacking in found for n in lacking).most_common(3)),
    }
