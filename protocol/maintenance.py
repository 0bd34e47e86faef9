"""Maintenance windows: whether one is open, when the next one opens, and what is nonsense.

A window opens at each time of its cron line, read on the clock of its time zone, and stays
open for its duration in real seconds; one that is longer than the time between two openings
stays open. Where clocks are moved, cronsim keeps to Debian's cron: a fixed time that is left
out opens when the clock has been moved, one that comes twice opens at its first, and lines
whose minute or hour begins with a star go by real time.

The hub refuses nonsense before a device hears of it; a device asks the same function again.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from protocol.messages import MaintenanceWindow

CRON_FIELDS = 5
EXAMPLE = '"0 2 * * 6" is each Saturday at two'
_BAD_DAY = "Bad day-of-month"
_DAY = re.compile(r"0?[1-9]|[12]\d|3[01]")
_REFERENCE = datetime(2024, 1, 1)  # noqa: DTZ001 - where `check` looks for a first opening from
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_LOCAL_NAMES = frozenset({"localtime", "posixrules", "Factory"})
_LOCAL_FOLDERS = ("posix/", "right/")
_UNREADABLE = (CronSimError, ArithmeticError, AssertionError, LookupError, ValueError, OSError)
"""What cronsim, zoneinfo and datetime raise on what they cannot take."""


def check(window: MaintenanceWindow) -> str:
    """What is wrong with a window, with the remedy; empty where nothing is."""
    if len(window.cron.split()) != CRON_FIELDS:
        return f"cron {window.cron!r} has not five fields; {EXAMPLE}"
    if not _is_zone(window.time_zone):
        return f"no time zone is called {window.time_zone!r}; write an IANA name, as Europe/Berlin"
    try:
        next(CronSim(window.cron, _REFERENCE))
    except StopIteration:
        return f"cron {window.cron!r} never comes; {EXAMPLE}"
    except _UNREADABLE as error:
        if str(error) == _BAD_DAY and _DAY.fullmatch(window.cron.split()[2]):
            return f"cron {window.cron!r} never comes: its months have no such day; {EXAMPLE}"
        return f"cron {window.cron!r} cannot be read: {error or type(error).__name__}; {EXAMPLE}"
    return ""


def is_open(window: MaintenanceWindow, wall: float) -> bool:
    """Whether the window is open at `wall` (Unix s). One that `check` refuses never is."""
    opened = _firing_after(window.cron, window.time_zone, wall - window.duration_s)
    return opened is not None and opened <= wall


def next_opening(window: MaintenanceWindow, wall: float) -> float | None:
    """From when on the window is open, at or after `wall` (Unix s): `wall` itself where it is
    open; None where it never will be."""
    if is_open(window, wall):
        return wall
    return _firing_after(window.cron, window.time_zone, wall)


def _firing_after(cron: str, time_zone: str, after: float) -> float | None:
    """The first time of `cron` after `after`, both Unix s."""
    return _firing(cron, time_zone, math.floor(after)) if math.isfinite(after) else None


@lru_cache(maxsize=256)
def _firing(cron: str, time_zone: str, after: int) -> float | None:
    """As above; times of five fields are whole seconds, so one second has one answer."""
    if len(cron.split()) != CRON_FIELDS or not _is_zone(time_zone):
        return None
    try:
        for time in CronSim(cron, datetime.fromtimestamp(after, ZoneInfo(time_zone))):
            # From within the second pass of an hour, cronsim finds times of its first.
            if time.timestamp() > after:
                return time.timestamp()
    except _UNREADABLE:
        return None
    return None


@lru_cache(maxsize=64)
def _is_zone(name: str) -> bool:
    """Whether the name means the same on every machine and is in the zone database."""
    if not _ZONE.fullmatch(name) or name in _LOCAL_NAMES or name.startswith(_LOCAL_FOLDERS):
        return False
    try:
        ZoneInfo(name)
    except _UNREADABLE:
        return False
    return True
