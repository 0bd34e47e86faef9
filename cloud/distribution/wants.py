"""Which chunks are wanted and not yet sent: the union over all devices; pure.

A device subscribes before it asks, so a chunk that is still to be sent serves every
device that asks for it meanwhile: it is sent once. One that was sent before somebody asked
is sent again, but not at once: those who come a little later still share it. The more devices
asked, and the longer the asking goes on, the longer the rest in between: what is on its way to
thousands takes its time, and a copy behind it would go to all of them too.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import NamedTuple

REPEATS_GROW_MAX = 4.0
REST_S_MAX = 15.0

Key = tuple[str, int]
"""Digest of a blob and index of a chunk."""


class _Sent(NamedTuple):
    """When a chunk was last sent, and how long it rests from then on."""

    at: float
    rest_s: float


class WantBook:
    """The chunks to send, in the order in which they were first asked for.

    Args:
        chunks_max: that wait at one time.
        repeat_s: between two sendings of one chunk, at least; it doubles with each while the
            chunk is asked for on and on, up to REPEATS_GROW_MAX times as long. Times are
            seconds of one clock.
        delivery_s: that a chunk takes the broker for each device, about; one that many asked
            for together with others rests for as long as all of them take.
    """

    def __init__(self, chunks_max: int, repeat_s: float = 0.0, *, delivery_s: float = 0.0) -> None:
        self._chunks_max = chunks_max
        self._repeat_s = repeat_s
        self._delivery_s = delivery_s
        self._wanted: dict[Key, int] = {}
        self._order: deque[Key] = deque()
        self._resting: list[tuple[float, Key]] = []
        self._sent: OrderedDict[Key, _Sent] = OrderedDict()

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, sha256: str, indexes: Iterable[int], now: float) -> int:
        """Note chunks of a blob; returns how many did not fit and were left out."""
        self._forget_sent(now)
        left_out = 0
        for index in sorted(indexes):
            key = (sha256, index)
            if key in self._wanted:
                self._wanted[key] += 1
                continue
            if len(self._wanted) >= self._chunks_max:
                left_out += 1
                continue
            self._wanted[key] = 1
            sent = self._sent.get(key)
            if sent is not None and now < sent.at + sent.rest_s:
                heapq.heappush(self._resting, (sent.at + sent.rest_s, key))
            else:
                self._order.append(key)
        return left_out

    def take(self, now: float) -> Key | None:
        """The next chunk to send; None where nothing is wanted, or all was sent just now."""
        while self._resting and self._resting[0][0] <= now:
            self._order.append(heapq.heappop(self._resting)[1])
        if not self._order:
            return None
        key = self._order.popleft()
        delivery_s = len(self._wanted) * self._wanted.pop(key) * self._delivery_s
        before = self._sent.get(key)
        grown_s = self._repeat_s
        if before is not None and now < before.at + 2 * before.rest_s:
            grown_s = min(2 * before.rest_s, REPEATS_GROW_MAX * self._repeat_s)
        self._sent[key] = _Sent(now, max(grown_s, min(delivery_s, REST_S_MAX)))
        self._sent.move_to_end(key)
        return key

    def next_at(self) -> float:
        """From when on `take` gives a chunk: 0 for at once, infinity where nothing is wanted."""
        if self._order:
            return 0.0
        return self._resting[0][0] if self._resting else math.inf

    def _forget_sent(self, now: float) -> None:
        """Drop the sendings that hold nothing back any more."""
        memory_s = 2 * max(REPEATS_GROW_MAX * self._repeat_s, REST_S_MAX)
        while self._sent and next(iter(self._sent.values())).at + memory_s <= now:
            self._sent.popitem(last=False)
