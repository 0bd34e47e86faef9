"""The plots, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulators.demo.measure import Point
from simulators.demo.record import Mark
from simulators.demo.report.themes import Theme, drawn_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
_MARK_WORDS = {
    "drift": "drift",
    "harvest": "samples",
    "labels": "labels",
    "training": "trained",
    "swap": "swap",
}
_BARS = (
    ("before_drift", "before the drift"),
    ("under_drift", "under drift"),
    ("control", "control: retrained without the samples"),
    ("after_update", "after the update"),
)


def over_time(
    series: Mapping[str, Sequence[Point]],
    marks: Sequence[Mark],
    windows: Mapping[str, tuple[float, float]],
    origin: float,
    theme: Theme,
) -> bytes:
    """Accuracy and confidence of each camera over the run, a panel each, events marked."""
    with drawn_in(theme):
        figure, panels = _panels(len(series))
        for panel, (camera, points) in zip(panels, series.items(), strict=True):
            _draw_series(panel, camera, points, origin, theme)
            _draw_marks(panel, [m for m in marks if camera in m.cameras], origin, theme)
            for start, end in windows.values():
                panel.axvspan(start - origin, end - origin, color=theme.muted, alpha=0.09, lw=0)
        panels[-1].set_xlabel("seconds since the start · shaded: where the figures were measured")
        lines, words = panels[0].get_legend_handles_labels()
        figure.legend(lines, words, loc="outside upper right", ncols=2)
        return _png(figure)


def confusions(
    before: NDArray[np.int64], after: NDArray[np.int64], names: Sequence[str], theme: Theme
) -> bytes:
    """Two confusion matrices side by side, each row as shares of its truth."""
    used = [
        i
        for i in range(len(names))
        if before[i].sum() + after[i].sum() + before[:, i].sum() + after[:, i].sum()
    ]
    rows = [*used, len(names)]
    labels = [names[i].replace("_", " ") for i in used]
    with drawn_in(theme):
        figure, panels = _pair_of_panels()
        for panel, matrix, title in (
            (panels[0], before, "under drift, old version"),
            (panels[1], after, "under drift, new version"),
        ):
            _draw_matrix(panel, matrix[np.ix_(rows, rows)], theme)
            panel.set_title(title, pad=10)
            panel.set_xticks(range(len(rows)), [*labels, "missed"], rotation=40, ha="right")
            panel.set_yticks(range(len(rows)), [*labels, "nothing there"])
            panel.set_xlabel("seen as")
        panels[0].set_ylabel("really is")
        return _png(figure)


def bars(summary: Mapping[str, Any], cameras: Sequence[str], theme: Theme) -> bytes:
    """mAP50 of each camera before, under drift, with the control and after the update."""
    colours = (theme.accuracy, theme.drift, theme.control, theme.good)
    with drawn_in(theme):
        figure = _figure(8.0, 3.4)
        panel = figure.subplots()
        for slot, ((name, words), colour) in enumerate(zip(_BARS, colours, strict=True)):
            values = [summary[f"map50_{name}_per_camera"].get(c) or 0.0 for c in cameras]
            places = np.arange(len(cameras)) + (slot - 1.5) * 0.2
            drawn = panel.bar(places, values, 0.18, color=colour, label=words)
            panel.bar_label(drawn, fmt="%.2f", fontsize=8, color=theme.muted, padding=2)
        panel.set_xticks(range(len(cameras)), cameras)
        panel.tick_params(axis="x", length=0, labelsize=10, labelcolor=theme.text)
        panel.set_ylim(0, 1.1)
        panel.set_yticks([0, 0.5, 1.0])
        panel.set_ylabel("mAP50")
        panel.yaxis.grid(visible=True)
        panel.set_axisbelow(True)
        panel.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=2, fontsize=9)
        return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure = _figure(9.0, 0.7 + 2.15 * count)
    return figure, list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])


def _pair_of_panels() -> tuple[Figure, list[Axes]]:
    figure = _figure(9.0, 4.6)
    return figure, list(figure.subplots(1, 2, sharey=True))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def _draw_series(
    panel: Axes, camera: str, points: Sequence[Point], origin: float, theme: Theme
) -> None:
    times = [p.at - origin for p in points]
    for values, colour, name, width in (
        ([p.map50 for p in points], theme.accuracy, "accuracy (mAP50)", 2.2),
        ([p.confidence for p in points], theme.confidence, "mean confidence", 1.6),
    ):
        known = [np.nan if v is None else v for v in values]
        panel.plot(times, known, color=colour, lw=width, label=name, solid_capstyle="round")
    panel.set_title(camera, pad=18)
    panel.set_ylim(0, 1.04)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    panel.yaxis.grid(visible=True)
    panel.set_axisbelow(True)
    panel.margins(x=0.01)


def _draw_marks(panel: Axes, marks: Sequence[Mark], origin: float, theme: Theme) -> None:
    """A line for each event, its word above; words too close to each other are joined."""
    colours = {"drift": theme.drift, "swap": theme.good}
    low, high = panel.get_xlim()
    apart = (high - low) * 0.075
    last, row = float("-inf"), 0
    for mark in sorted(marks, key=lambda m: m.at):
        at = mark.at - origin
        colour = colours.get(mark.kind, theme.muted)
        panel.axvline(at, color=colour, lw=1.1, ls="-" if mark.kind == "drift" else (0, (3, 2)))
        row = (row + 1) % 2 if at - last < apart else 0
        last = at
        panel.annotate(
            _MARK_WORDS[mark.kind],
            (at, 1.04),
            xytext=(0, 2 + 9 * row),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=colour,
            annotation_clip=False,
        )


def _draw_matrix(panel: Axes, matrix: NDArray[np.int64], theme: Theme) -> None:
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shares = matrix / totals
    panel.imshow(shares, cmap=theme.ramp, vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(matrix > 0):
        panel.text(
            column,
            row,
            f"{shares[row, column]:.2f}\n{matrix[row, column]}",
            ha="center",
            va="center",
            fontsize=7,
            color=_readable(theme, float(shares[row, column])),
        )
    panel.tick_params(length=0)
    for spine in panel.spines.values():
        spine.set_visible(False)


def _readable(theme: Theme, share: float) -> str:
    """A text colour that stands out of the colour map at `share`."""
    from matplotlib import colormaps

    red, green, blue, _ = colormaps[theme.ramp](share)
    return "#10161d" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "#f4f7fa"
