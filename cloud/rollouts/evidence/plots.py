"""The plots of a rollout's page, as PNG bytes, drawn from the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloud.plotting import (
    AMBER,
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
from cloud.rollouts.evidence.progress import (
    CLASSES,
    FAILED,
    HAS_IT,
    PASSED_OVER,
    REVERTED,
    UNDER_WAY,
    WAITING,
)

Record = Mapping[str, Any]

COLOURS: Mapping[str, str] = {
    HAS_IT: GOOD,
    REVERTED: "#7c3aed",
    FAILED: BAD,
    PASSED_OVER: "#9aa5b1",
    UNDER_WAY: "#f2b33d",
    WAITING: "#e3e8ee",
}
VERDICTS: Mapping[str, str] = {"PASS": GOOD, "FAIL": BAD, "INCONCLUSIVE": AMBER}
BEFORE, AFTER = ORANGE, BLUE
CAMERAS_MAX = 40
COMPONENTS_MAX = 60
SHARE_SHOWN_MAX = 3.0
_UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
_WIDTH = 9.2


def over_time(record: Record) -> bytes | None:
    """How many devices stood where, from the start on; a line where each wave opened."""
    from matplotlib.ticker import MaxNLocator

    progress = record["progress"]
    times = progress["times"]
    if times[-1] <= times[0]:
        return None
    seconds, unit = _unit(times[-1] - times[0])
    x = [(t - times[0]) / seconds for t in times]
    drawn, axes = figure(_WIDTH, 3.6)
    names = [name for name in CLASSES if any(progress["devices"][name])]
    axes.stackplot(
        x,
        [progress["devices"][name] for name in names],
        labels=names,
        colors=[COLOURS[name] for name in names],
        lw=0,
        step="post",
    )
    top = max(1, record["outcome"]["devices"])
    for wave in record["waves"]:
        if wave["opened_at"] is not None:
            at = (wave["opened_at"] - times[0]) / seconds
            axes.axvline(at, color=TEXT, lw=1, ls=":")
            axes.text(at, top * 1.02, f" wave {wave['wave'] + 1}", fontsize=8, color=MUTED)
    axes.set_xlim(0, x[-1])
    axes.set_ylim(0, top * 1.1)
    axes.set_xlabel(f"{unit} since the rollout was asked for")
    axes.set_ylabel("devices")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(
        frameon=False, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1), fontsize=9
    )
    return png(drawn)


def looks(record: Record) -> bytes | None:
    """When each wave went, and every look at its gate with the verdict."""
    waves = [wave for wave in record["waves"] if wave["first_started_at"] is not None]
    if not waves or not record["gates"]:
        return None
    begin, end = record["progress"]["times"][0], record["progress"]["times"][-1]
    seconds, unit = _unit(max(1.0, end - begin))
    drawn, axes = figure(_WIDTH, 1.2 + 0.55 * len(waves))
    for place, wave in enumerate(waves):
        start = (wave["first_started_at"] - begin) / seconds
        stop = ((wave["last_ended_at"] or end) - begin) / seconds
        axes.barh([place], [max(stop - start, 0.0)], left=[start], height=0.34, color=GRID)
        for look in record["gates"]:
            if look["wave"] == wave["wave"]:
                at = (look["at"] - begin) / seconds
                filled = VERDICTS[look["verdict"]] if look["settled"] else "white"
                axes.plot([at], [place], "o", ms=7, mfc=filled, mec=VERDICTS[look["verdict"]])
    for verdict, colour in VERDICTS.items():
        axes.plot([], [], "o", color=colour, label=verdict)
    axes.set_yticks(range(len(waves)), [f"wave {wave['wave'] + 1}" for wave in waves])
    axes.set_ylim(len(waves) - 0.5, -0.5)
    axes.set_xlim(0, max(1.0, end - begin) / seconds)
    axes.set_xlabel(f"{unit} since the rollout was asked for")
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
    return png(drawn)


def margins(figures: Mapping[str, Any]) -> bytes | None:
    """Each figure's change with its interval, in parts of what is allowed; None without one."""
    rows = [
        c for c in figures.get("components") or []
        if c["shift"] is not None and c["margin"]
    ][:COMPONENTS_MAX]  # fmt: skip
    if not rows:
        return None
    drawn, axes = figure(_WIDTH, 1.1 + 0.36 * len(rows))
    for place, row in enumerate(rows):
        colour = FINDINGS[row["finding"]]
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f5f8" if place % 2 else "#ffffff", lw=0)
        if row["low"] is not None and row["high"] is not None:
            ends = [_share(row, row["low"]), _share(row, row["high"])]
            axes.plot(ends, [place] * 2, color=colour, lw=4, alpha=0.45)
        axes.plot([_share(row, row["shift"])], [place], "o", color=colour, ms=7)
    axes.axvline(0, color=TEXT, lw=1)
    axes.axvline(1, color=BAD, lw=2)
    axes.set_yticks(range(len(rows)), [short(row["name"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-1.05 * SHARE_SHOWN_MAX, 1.05 * SHARE_SHOWN_MAX)
    axes.set_xlabel("better ←  change, in parts of what is allowed (red)  → worse")
    axes.grid(axis="x", color=GRID)
    return png(drawn)


def _share(row: Mapping[str, Any], value: float) -> float:
    """A change in parts of its margin; one that is far outside is drawn at the edge."""
    share = value / row["margin"]
    return float(max(-SHARE_SHOWN_MAX, min(SHARE_SHOWN_MAX, share)))


def cameras(figures: Mapping[str, Any]) -> bytes | None:
    """Confidence before and after: of the cameras that the gate tells by themselves, the one that
    lost most first, and of the whole wave; None where nothing of it is known."""
    rows = [
        c for c in figures.get("components") or []
        if c["kind"] == "confidence" and c["before"] is not None and c["after"] is not None
    ]  # fmt: skip
    if not rows:
        return None
    rows = sorted(rows, key=lambda c: float(c["after"] - c["before"]))[:CAMERAS_MAX]
    drawn, axes = figure(_WIDTH, 1.2 + 0.34 * len(rows))
    for place, row in enumerate(rows):
        axes.plot([row["before"], row["after"]], [place] * 2, color=FINDINGS[row["finding"]], lw=2)
    places = range(len(rows))
    axes.plot([row["before"] for row in rows], places, "o", color=BEFORE, ms=7, label="before")
    axes.plot([row["after"] for row in rows], places, "o", color=AFTER, ms=7, label="after")
    axes.set_yticks(places, [short(row["camera"] or "the whole wave") for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("calibrated confidence, before and after the exchange")
    axes.grid(axis="x", color=GRID)
    axes.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), fontsize=9)
    return png(drawn)


def _unit(span_s: float) -> tuple[float, str]:
    """Seconds of the largest unit that `span_s` holds at least three of, and its name."""
    return next((unit for unit in _UNITS if span_s >= 3 * unit[0]), _UNITS[-1])
