"""That another bundle took over for good: a word that the history and the hub have to hear."""

from __future__ import annotations

from pydantic import BaseModel

DONE = "rolled_back_by_hand"
"""The alert that a person at the device went back."""

UNTOLD_MAX = 16
"""How many a slot keeps for as long as nobody takes them; the oldest go first."""


class Turned(BaseModel):
    """One turn of a slot.

    It is written with what is committed (`Committed.untold`), so that neither is there without
    the other, and goes from there once both have heard of it. Each of them keeps the number of
    the last that it heard, in the same write: whatever is killed when, none hears it twice.

    Attributes:
        number: it never goes back within a slot.
        at: when it was, Unix time (s); it may be told much later.
        alert, text: how the hub is told.
        serves, left: the bundles, by digest; nothing was left where nothing served.
        by_hand: a person wanted it.
    """

    number: int
    at: float
    alert: str
    text: str
    serves: str
    left: str | None = None
    by_hand: bool = False
