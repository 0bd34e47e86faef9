"""Counters that merge: fixed-bin and logarithmic histograms.

Windows of any camera, class or hour add up by adding their bins, in any order and
grouping, with no loss: counts are integers, so the sum is exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.errors import MergeError

BINS_MAX = 256
CONFIDENCE_BINS = 20


class Histogram(BaseModel):
    """Counts of values in equal bins over [low, high]; what lies outside goes to the end bins.

    Attributes:
        low, high: the range, in the unit of what is counted.
        counts: one count per bin; bin i covers [low + i*w, low + (i+1)*w), the last closed.
        scale: "linear", or "log" where the bins are equal in log10 of the value (low > 0).
    """

    model_config = ConfigDict(frozen=True)

    low: float
    high: float
    counts: tuple[int, ...] = Field(min_length=1, max_length=BINS_MAX)
    scale: str = Field(default="linear", pattern="^(linear|log)$")

    @model_validator(mode="after")
    def _check(self) -> Histogram:
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low >= self.high:
            raise ValueError("low must be below high, both finite")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a log histogram starts above 0")
        if min(self.counts) < 0:
            raise ValueError("a count is never negative")
        return self

    @classmethod
    def empty(cls, low: float, high: float, bins: int, scale: str = "linear") -> Histogram:
        return cls(low=low, high=high, counts=(0,) * bins, scale=scale)

    @property
    def total(self) -> int:
        return sum(self.counts)

    def edges(self) -> tuple[float, ...]:
        """The len(counts) + 1 bin edges, in the unit of the values."""
        low, high = self._axis(self.low), self._axis(self.high)
        step = (high - low) / len(self.counts)
        points = [low + step * i for i in range(len(self.counts) + 1)]
        return tuple(10**p for p in points) if self.scale == "log" else tuple(points)

    def add(self, values: Iterable[float]) -> Histogram:
        """A new histogram with `values` counted; a value that is no number is left out."""
        counts = list(self.counts)
        for value in values:
            if not math.isnan(value):
                counts[self._bin(value)] += 1
        return self.model_copy(update={"counts": tuple(counts)})

    def merge(self, other: Histogram) -> Histogram:
        """The sum of both; associative and commutative.

        Raises:
            MergeError: range, bins or scale differ.
        """
        mine = (self.low, self.high, self.scale, len(self.counts))
        theirs = (other.low, other.high, other.scale, len(other.counts))
        if mine != theirs:
            raise MergeError(f"histograms of {mine} and {theirs} have no common bins")
        summed = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return self.model_copy(update={"counts": summed})

    def mean(self) -> float | None:
        """Mean of the bin centres, None where nothing was counted (unknown is never 0)."""
        if self.total == 0:
            return None
        edges = self.edges()
        centres = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
        return sum(c * n for c, n in zip(centres, self.counts, strict=True)) / self.total

    def quantile(self, q: float) -> float | None:
        """Upper edge of the bin in which the q-th share (0..1) of the values is reached."""
        if self.total == 0:
            return None
        wanted, seen, edges = q * self.total, 0, self.edges()
        for i, count in enumerate(self.counts):
            seen += count
            if seen >= wanted and count:
                return edges[i + 1]
        return edges[-1]

    def _axis(self, value: float) -> float:
        return math.log10(value) if self.scale == "log" else value

    def _bin(self, value: float) -> int:
        last = len(self.counts) - 1
        if value <= self.low:
            return 0
        if value >= self.high:
            return last
        low, high = self._axis(self.low), self._axis(self.high)
        return min(last, int((self._axis(value) - low) / (high - low) * len(self.counts)))


def confidence_histogram() -> Histogram:
    """An empty histogram of confidences: 20 bins over [0, 1]."""
    return Histogram.empty(0.0, 1.0, CONFIDENCE_BINS)


def milliseconds_histogram() -> Histogram:
    """An empty histogram of durations: log bins from 0.1 ms to 100 s, ten to a decade."""
    return Histogram.empty(0.1, 100_000.0, 60, scale="log")
