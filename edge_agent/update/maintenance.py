"""Maintenance windows as the device sees them: the protocol's decisions, and words for people."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from protocol.maintenance import check, is_open, next_opening
from protocol.messages import MaintenanceWindow

__all__ = ["check", "is_open", "next_opening", "opening_words"]


def opening_words(window: MaintenanceWindow, wall: float) -> str:
    """When the window opens, on its own clock, as a person reads it."""
    wrong = check(window)
    if wrong:
        return f"its window never opens: {wrong}"
    at = next_opening(window, wall)
    if at is None:
        return "its window never opens"
    if at <= wall:
        return "its window is open"
    local = datetime.fromtimestamp(at, ZoneInfo(window.time_zone))
    return f"its window opens {local:%Y-%m-%d %H:%M} {window.time_zone}"
