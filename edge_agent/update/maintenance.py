"""Maintenance windows as the device sees them: the protocol's decisions, and words for people."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from protocol.maintenance import check, is_open, next_opening
from protocol.messages import MaintenanceWindow, SlotDesired

__all__ = ["at_words", "check", "is_open", "next_opening", "opening_words", "zone_of"]

UTC = "UTC"


def zone_of(desired: SlotDesired | None) -> str:
    """The time zone in which people read the times of an attempt: its window's, else UTC."""
    window = None if desired is None else desired.window
    return UTC if window is None or check(window) else window.time_zone


def at_words(wall: float, zone: str, *, seconds: bool = False) -> str:
    """A moment (Unix s) on the clock of a time zone, with its name."""
    text = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    where = timezone.utc if zone == UTC else ZoneInfo(zone)
    try:
        return f"{datetime.fromtimestamp(wall, where):{text}} {zone}"
    except (OverflowError, ValueError, OSError):
        return "a time that no clock shows"


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
    return f"its window opens {at_words(at, window.time_zone)}"
