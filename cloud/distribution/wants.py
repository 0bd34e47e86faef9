"""Which chunks are wanted and not yet sent: the union over all devices; pure.

A device subscribes before it asks, so a chunk that is still to be sent serves every
device that asks for it meanwhile: it is sent once. One that was sent before somebody asked
is sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class WantBook:
    """The chunks to send, in the order in which they were first asked for."""

    def __init__(self, chunks_max: int) -> None:
        self._chunks_max = chunks_max
        self._order: deque[tuple[str, int]] = deque()
        self._wanted: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, sha256: str, indexes: Iterable[int]) -> int:
        """Note chunks of a blob; returns how many did not fit and were left out."""
        left_out = 0
        for index in sorted(indexes):
            key = (sha256, index)
            if key in self._wanted:
                continue
            if len(self._order) >= self._chunks_max:
                left_out += 1
                continue
            self._wanted.add(key)
            self._order.append(key)
        return left_out

    def take(self) -> tuple[str, int] | None:
        """The next chunk to send; None where nothing is wanted."""
        if not self._order:
            return None
        key = self._order.popleft()
        self._wanted.discard(key)
        return key
