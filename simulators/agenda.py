"""Who is due when: thousands of them, of which a turn looks at those whose time has come."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """One time for each entry (Unix seconds); a new one replaces the one before."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._times: dict[T, float] = {}
        self._order = itertools.count()

    def set(self, entry: T, at: float) -> None:
        """Have `entry` due at `at`."""
        if self._times.get(entry) != at:
            self._times[entry] = at
            heapq.heappush(self._heap, (at, next(self._order), entry))

    def due(self, now: float) -> Iterator[T]:
        """Take those out whose time has come, the earliest first."""
        while self._heap and self._heap[0][0] <= now:
            at, _, entry = heapq.heappop(self._heap)
            if self._times.get(entry) == at:
                del self._times[entry]
                yield entry

    def next_at(self) -> float:
        """When to look again, at the latest; infinity where nobody is due."""
        return self._heap[0][0] if self._heap else float("inf")
