"""The benchmark harness: rows with a goal, and what a row must carry.

A bench module defines BENCHES, a dict from row name to a function that measures it.
Ratios compare both sides in one run, in turns, so that a busy machine burdens both.
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One figure: its goal as words ("<= 1.25"), whether it holds, both sides' figures."""

    name: str
    value: float
    unit: str
    goal: str
    holds: bool
    detail: dict[str, Any] = field(default_factory=dict)


Bench = Callable[[], Row]


class Unavailable(Exception):  # noqa: N818 - a reason, not a fault
    """A row cannot be measured here; the text says what is lacking."""


def row(name: str, value: float, goal: str, *, unit: str = "ratio", **detail: Any) -> Row:
    """A row whose `holds` follows from its goal, "<= x", ">= x" or "== x"."""
    relation, bound = goal.split()
    limit = float(bound)
    holds = {"<=": value <= limit, ">=": value >= limit, "==": value == limit}[relation]
    return Row(name, value, unit, goal, holds, detail)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, extremes and count of repeated figures."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {
        "median": float(middle),
        "quartile_low": float(low),
        "quartile_high": float(high),
        "min": float(min(values)),
        "max": float(max(values)),
        "repetitions": len(values),
    }


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, rounds: int = 4000, seed: int = 1
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median of paired ratios."""
    rng = np.random.default_rng(seed)
    data = np.asarray(values, dtype=float)
    picks = rng.integers(0, len(data), size=(rounds, len(data)))
    medians = np.median(data[picks], axis=1)
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(medians, [tail, 100 - tail])
    return float(low), float(high)


def in_turns(
    first: Callable[[], float], second: Callable[[], float], repetitions: int
) -> tuple[list[float], list[float]]:
    """Measure both sides alternately, swapping who goes first, `repetitions` times."""
    firsts: list[float] = []
    seconds: list[float] = []
    for turn in range(repetitions):
        if turn % 2 == 0:
            firsts.append(first())
            seconds.append(second())
        else:
            seconds.append(second())
            firsts.append(first())
    return firsts, seconds


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median of the pairwise ratios."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu, flags = platform.processor() or platform.machine(), ""
    for line in _lines(Path("/proc/cpuinfo")):
        key, _, text = line.partition(":")
        if key.strip() == "model name":
            cpu = text.strip()
        elif key.strip() == "flags":
            flags = text
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "cpu_flags": [flag for flag in wanted if flag in flags.split()],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def shared_data() -> Path:
    """The folder of real data beside the project. Raises Unavailable where it is absent."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        raise Unavailable(f"needs the real data folder {folder.name} beside the project")
    return folder


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
