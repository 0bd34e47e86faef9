"""Two sets of colours, so that the page is good to look at by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Theme:
    """Colours as matplotlib and CSS write them."""

    name: str
    card: str
    text: str
    muted: str
    grid: str
    accuracy: str
    confidence: str
    drift: str
    good: str
    control: str
    ramp: str
    """Name of matplotlib's colour map for shares."""


LIGHT = Theme(
    name="light",
    card="#ffffff",
    text="#17202a",
    muted="#64717f",
    grid="#e3e8ee",
    accuracy="#0b62c4",
    confidence="#d97706",
    drift="#c62f3b",
    good="#15803d",
    control="#8b95a1",
    ramp="Blues",
)
DARK = Theme(
    name="dark",
    card="#151c25",
    text="#e6ebf1",
    muted="#93a1b0",
    grid="#2a3441",
    accuracy="#5aa9ff",
    confidence="#f5a742",
    drift="#ff6b74",
    good="#4ade80",
    control="#76828f",
    ramp="cividis",
)
THEMES = (LIGHT, DARK)


@contextmanager
def drawn_in(theme: Theme) -> Iterator[None]:
    """Everything that matplotlib draws inside takes the theme's colours."""
    import matplotlib as mpl

    colours: dict[Any, Any] = {
        "figure.facecolor": theme.card,
        "savefig.facecolor": theme.card,
        "axes.facecolor": theme.card,
        "axes.edgecolor": theme.grid,
        "axes.labelcolor": theme.muted,
        "axes.titlecolor": theme.text,
        "text.color": theme.text,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "grid.color": theme.grid,
        "axes.grid": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "font.size": 10,
        "font.family": "DejaVu Sans",
        "legend.frameon": False,
    }
    with mpl.rc_context(colours):
        yield
