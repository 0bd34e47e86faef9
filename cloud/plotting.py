"""What the plots of pages have in common."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT, MUTED, GRID = "#17202a", "#5c6976", "#e3e8ee"
GOOD, BAD, AMBER, BLUE, ORANGE = "#15803d", "#c62f3b", "#a16207", "#0b62c4", "#d97706"
FINDINGS = {"HOLDS": GOOD, "HARM": BAD, "UNSHOWN": AMBER, "REPORTED": MUTED}
"""The colour of what a gate found of one figure."""

_DPI = 130
_NAME_CHARACTERS = 32


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, in inches."""
    # Not pyplot: it keeps figures in one place for all threads.
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    axes = made.subplots()
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    axes.tick_params(labelsize=9)
    return made, axes


def png(made: Figure) -> bytes:
    """The figure's picture."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png")
    return buffer.getvalue()


def short(name: str, characters: int = _NAME_CHARACTERS) -> str:
    """A name that came from outside: no formula, not too long."""
    return (name if len(name) <= characters else f"{name[: characters - 1]}…").replace("$", r"\$")
