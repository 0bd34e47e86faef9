"""Time as a value that is passed in: wall clock for records, monotonic for spans."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`wall()` is Unix time in seconds and may jump; `monotonic()` never goes back."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
