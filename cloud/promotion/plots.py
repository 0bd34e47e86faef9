"""The plots of an evidence page, as PNG bytes, drawn from the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloud.plotting import (
    BAD,
    BLUE,
    FINDINGS,
    GOOD,
    GRID,
    MUTED,
    ORANGE,
    TEXT,
    figure,
    png,
    short,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Record = Mapping[str, Any]

CANDIDATE, INCUMBENT, TRUTH = BLUE, ORANGE, GOOD
_SIDES = (("incumbent", INCUMBENT), ("candidate", CANDIDATE))
_CLASSES_MAX = 40


def forest(record: Record) -> bytes | None:
    """Each component's gain with its bounds against what it may lose; None where none has one."""
    rows = [
        c for c in record["components"]
        if c["gain"] is not None and c["margin"] is not None and c["kind"] != "latency"
    ][: _CLASSES_MAX + 8]  # fmt: skip
    if not rows:
        return None
    drawn, axes = figure(9.2, 1.3 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        colour = FINDINGS[row["finding"]]
        axes.plot([-row["margin"]] * 2, [place - 0.36, place + 0.36], color=BAD, lw=2)
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f5f8" if place % 2 else "#ffffff", lw=0)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place] * 2, color=colour, lw=4, alpha=0.45)
        axes.plot([row["gain"]], [place], "o", color=colour, ms=7)
    axes.axvline(0, color=TEXT, lw=1)
    axes.set_yticks(range(len(rows)), [short(r["name"]) for r in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    level = round(100 * (1 - 2 * record["policy"]["alpha"]))
    axes.set_xlabel(f"worse ←  gain over the incumbent, {level} % interval  → better")
    axes.grid(axis="x", color=GRID)
    return png(drawn)


def curves(record: Record) -> bytes:
    """Precision over recall, the mean of the classes, both models."""
    drawn, axes = figure(4.6, 3.6)
    for side, colour in _SIDES:
        if side in record["curves"]:
            curve = record["curves"][side]
            axes.plot(curve["recall"], curve["precision"], color=colour, lw=2, label=side)
    _square(axes, "recall", "precision")
    return png(drawn)


def reliability(record: Record) -> bytes:
    """How often boxes of a confidence are right, both models."""
    drawn, axes = figure(4.6, 3.6)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls="--")
    for side, colour in _SIDES:
        bins = record["reliability"].get(side, [])
        if bins:
            x, y = [b["confidence"] for b in bins], [b["correct"] for b in bins]
            axes.plot(x, y, "o-", color=colour, lw=1.6, ms=4, label=side)
    _square(axes, "calibrated confidence", "share that is right")
    return png(drawn)


def robustness(record: Record) -> bytes | None:
    """Relative mAP50 under each perturbation that both were measured under."""
    ours, theirs = record["robustness"]["candidate"], record["robustness"]["incumbent"]
    names = sorted(set(ours) & set(theirs))
    if not names:
        return None
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rsplit(" ", 1)[0], []).append(name)
    drawn, axes = figure(9.2, 3.4)
    place = 0.0
    ticks: list[tuple[float, str]] = []
    for group, members in groups.items():
        x = [place + i for i in range(len(members))]
        for side, colour in _SIDES:
            y = [record["robustness"][side][name] for name in members]
            axes.plot(x, y, "o-", color=colour, lw=1.8, ms=4, label=None if ticks else side)
        ticks.append((sum(x) / len(x), group))
        place += len(members) + 1
    axes.set_xticks([t for t, _ in ticks], [short(g) for _, g in ticks])
    axes.set_ylim(0, 1.08)
    axes.set_ylabel("mAP50 ÷ clean")
    axes.set_xlabel("each from weak to strong")
    axes.grid(axis="y", color=GRID)
    axes.legend(frameon=False, loc="lower left")
    return png(drawn)


def classes(record: Record) -> bytes | None:
    """AP50 of each class, both models."""
    rows = [c for c in record["components"] if c["kind"] == "class"][:_CLASSES_MAX]
    if not rows:
        return None
    drawn, axes = figure(9.2, 1.0 + 0.5 * len(rows))
    for offset, (side, colour) in zip((0.19, -0.19), reversed(_SIDES), strict=True):
        values = [r[side] or 0.0 for r in rows]
        places = [i - offset for i in range(len(rows))]
        axes.barh(places, values, height=0.36, color=colour, label=side)
        for place, row in zip(places, rows, strict=True):
            said = "not known" if row[side] is None else f"{row[side]:.3f}"
            axes.text((row[side] or 0.0) + 0.01, place, said, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{short(r['name'])} ({r['boxes']})" for r in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("AP50 (labelled boxes in brackets)")
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    return png(drawn)


def latency(record: Record) -> bytes | None:
    """Median time of a frame, and what the candidate may take."""
    found = {side: record["latency"][side] for side, _ in _SIDES if record["latency"][side]}
    if not found:
        return None
    drawn, axes = figure(9.2, 0.9 + 0.5 * len(found))
    colours = dict(_SIDES)
    for place, (side, value) in enumerate(found.items()):
        axes.barh([place], [value["median_ms"]], color=colours[side], height=0.55)
        axes.text(value["median_ms"], place, f" {value['median_ms']:.1f} ms", va="center")
    axes.set_yticks(range(len(found)), list(found))
    if len(found) == 2:
        limit = found["incumbent"]["median_ms"] * record["policy"]["latency_ratio_max"]
        axes.axvline(limit, color=BAD, lw=2)
    axes.set_xlim(0, 1.25 * max(v["median_ms"] for v in found.values()))
    axes.set_xlabel("milliseconds for one frame; the red line is what is allowed")
    return png(drawn)


def _square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=GRID)
    axes.legend(frameon=False, loc="lower left" if y == "precision" else "upper left")
