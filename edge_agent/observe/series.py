"""Sums over values that follow each other, from which chance can be told from change. Pure.

Frames of one camera resemble their neighbours: fifty pictures of the same box are one
observation and not fifty. So neighbours' products are summed beside values and squares, and
an error of a mean is that of as many values as are independent of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CORRELATION_MAX = 0.99


@dataclass(frozen=True)
class Series:
    """Sums over values, in the unit of the values.

    Attributes:
        pairs, products: how many values came right after another one, and the sum of the
            products of both.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    pairs: int = 0
    products: float = 0.0

    def since(self, start: Series) -> Series:
        """What was summed after `start` had been read."""
        return Series(
            self.count - start.count,
            self.total - start.total,
            self.squares - start.squares,
            self.pairs - start.pairs,
            self.products - start.products,
        )

    @property
    def mean(self) -> float:
        """Mean of the values; 0 where there is none."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Mean square of the distance from the mean; 0 where there is no value."""
        return max(0.0, self.squares / self.count - self.mean**2) if self.count else 0.0

    @property
    def correlation(self) -> float:
        """How much a value resembles the one before it, 0 to 0.99."""
        if self.pairs < 2 or self.variance <= 0.0:
            return 0.0
        likeness = (self.products / self.pairs - self.mean**2) / self.variance
        return min(CORRELATION_MAX, max(0.0, likeness))


def independent(count: int, correlation: float) -> float:
    """How many independent values tell as much as `count` that resemble their neighbours."""
    return max(1.0, count * (1.0 - correlation) / (1.0 + correlation))


def difference_error(left: Series, right: Series) -> float:
    """Standard error of the difference of both means, in the unit of the values.

    If both came from one source, each is as wide and as slow to change as the wider and the
    slower of them: a short series has not seen all that the source does.
    """
    variance = max(left.variance, right.variance)
    correlation = max(left.correlation, right.correlation)
    parts = (1.0 / independent(series.count, correlation) for series in (left, right))
    return math.sqrt(variance * sum(parts))


class RunningSeries:
    """A series that grows by one value at a time. Not thread-safe."""

    __slots__ = ("_count", "_pairs", "_products", "_squares", "_total")

    def __init__(self) -> None:
        self._count = self._pairs = 0
        self._total = self._squares = self._products = 0.0

    def add(self, value: float, before: float | None = None) -> None:
        """Sum `value`; `before` is the one right before it, None where there was none."""
        self._count += 1
        self._total += value
        self._squares += value * value
        if before is not None:
            self._pairs += 1
            self._products += value * before

    def read(self) -> Series:
        return Series(self._count, self._total, self._squares, self._pairs, self._products)
