"""Counts for the shelf: what is there, taken over time, and when it is few or none.

A count is the upper quartile of the counts of the last seconds: a running order
statistic, the family of the running median (Tukey, "Exploratory Data Analysis", 1977; Yin,
Yang, Gabbouj and Neuvo, "Weighted median filters: a tutorial", IEEE Transactions on
Circuits and Systems II 43(3), 1996). It keeps edges and drops outliers as the median does,
and as a model misses objects, or has them hidden, far more often than it invents them, a
rank above the middle is nearer to what is there.

A limit is passed downwards when three quarters of the frames are at or below it, upwards
when half of them are above. So a change that lasts is told within that span (downwards
after about three quarters of it, upwards after half), and what flickers in between changes
nothing. Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from edge_agent.rules.states import (
    PLACE_TABLE,
    STOCK_TABLE,
    PlaceEvent,
    PlaceState,
    StockEvent,
    StockState,
)
from protocol.machine import advance

RANK = 0.75
BELOW_SHARE_MAX = 1 - RANK
ABOVE_SHARE_MIN = 0.5
SAMPLES_MAX = 4096


class CountWindow:
    """The counts of the frames of the last `span_s`, at most SAMPLES_MAX, evenly thinned."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._samples: deque[tuple[float, int]] = deque()
        self._frequencies: Counter[int] = Counter()
        self._since_s: float | None = None
        self._seen_s = float("-inf")

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, count: int, now_s: float) -> None:
        """Take a frame's count and drop what is older than the span."""
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._seen_s >= self._span_s / SAMPLES_MAX:
            self._seen_s = now_s
            self._samples.append((now_s, count))
            self._frequencies[count] += 1
        while self._samples[0][0] <= now_s - self._span_s:
            _, old = self._samples.popleft()
            self._frequencies[old] -= 1
            if not self._frequencies[old]:
                del self._frequencies[old]

    def spans(self, now_s: float) -> bool:
        """Whether frames have come for as long as the window is."""
        return self._since_s is not None and now_s - self._since_s >= self._span_s

    def clear(self) -> None:
        self._samples.clear()
        self._frequencies.clear()
        self._since_s, self._seen_s = None, float("-inf")

    def share_above(self, limit: int) -> float:
        """The share of frames with more than `limit`; the window must not be empty."""
        above = sum(frames for count, frames in self._frequencies.items() if count > limit)
        return above / len(self._samples)

    def ranked(self) -> int:
        """The count that RANK of the frames do not exceed; the window must not be empty."""
        left = RANK * len(self._samples)
        for count in sorted(self._frequencies):
            left -= self._frequencies[count]
            if left <= 0:
                break
        return count


class Limit:
    """Whether a count is above a limit, with the hysteresis told above."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._above: bool | None = None

    def above(self, window: CountWindow) -> bool:
        share = window.share_above(self._limit)
        if share <= BELOW_SHARE_MAX:
            self._above = False
        elif share >= ABOVE_SHARE_MIN or self._above is None:
            self._above = True
        return self._above is True

    def clear(self) -> None:
        self._above = None


State = TypeVar("State", bound=Enum)
Event = TypeVar("Event", bound=Enum)


@dataclass(frozen=True)
class Span:
    """The time that counts are taken over, and the frames in it without which nothing changes."""

    seconds: float
    frames_min: int


@dataclass(frozen=True)
class Meaning(Generic[State, Event]):
    """What a count says.

    Attributes:
        table: how the state moves, from `unknown` on.
        events: to be above none of the limits, above the first, and so on.
        sight_lost: that nothing can be said.
    """

    table: Mapping[tuple[State, Event], State]
    unknown: State
    events: tuple[Event, ...]
    sight_lost: Event


STOCK = Meaning(
    STOCK_TABLE,
    StockState.UNKNOWN,
    (StockEvent.NONE_SEEN, StockEvent.FEW_SEEN, StockEvent.ENOUGH_SEEN),
    StockEvent.SIGHT_LOST,
)
"""Of a class that belongs on the shelf, with the limits `out` and `low`."""

PLACE = Meaning(
    PLACE_TABLE,
    PlaceState.UNKNOWN,
    (PlaceEvent.NOT_SEEN, PlaceEvent.SEEN),
    PlaceEvent.SIGHT_LOST,
)
"""Of a class that does not belong there, with the limit 0."""


@dataclass(frozen=True)
class StockChange(Generic[State]):
    """A class whose state changed.

    Attributes:
        count: smoothed; None where nothing can be said.
    """

    class_name: str
    before: State
    state: State
    count: int | None


class ClassCount(Generic[State, Event]):
    """One class on the shelf: its smoothed count, and what that means.

    Args:
        limits: in rising order.
    """

    def __init__(
        self,
        class_name: str,
        meaning: Meaning[State, Event],
        limits: Sequence[int],
        span: Span,
    ) -> None:
        self.class_name, self._meaning = class_name, meaning
        self.state, self._event = meaning.unknown, meaning.sight_lost
        self._limits = tuple(Limit(limit) for limit in limits)
        self._window, self._frames_min = CountWindow(span.seconds), span.frames_min

    @property
    def count(self) -> int | None:
        """Smoothed; None where nothing can be said, which is not 0."""
        return None if self.state is self._meaning.unknown else self._window.ranked()

    def observe(self, count: int, now_s: float) -> StockChange[State] | None:
        """Take a frame's count; what that changes."""
        self._window.add(count, now_s)
        if len(self._window) < self._frames_min or not self._window.spans(now_s):
            return None
        passed = sum([limit.above(self._window) for limit in self._limits])
        return self._move(self._meaning.events[passed])

    def lose_sight(self) -> StockChange[State] | None:
        """Nothing is known from here on, until frames have come for a whole span again."""
        self._window.clear()
        for limit in self._limits:
            limit.clear()
        return self._move(self._meaning.sight_lost)

    def _move(self, event: Event) -> StockChange[State] | None:
        if event is self._event:
            return None
        self._event, before = event, self.state
        self.state = advance(self._meaning.table, before, event)
        return StockChange(self.class_name, before, self.state, self.count)


ItemCount = ClassCount[StockState, StockEvent]
StrayCount = ClassCount[PlaceState, PlaceEvent]
