"""Chance as a value that is passed in."""

from __future__ import annotations

from typing import Protocol


class Dice(Protocol):
    """What decides a draw: `random.Random`, seeded where a run must be repeatable."""

    def random(self) -> float:
        """Uniform over [0, 1)."""
