"""Many things a few at a time, so that no statement and no transaction grows with the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
LOT = 500


def lots(things: Iterable[T], size: int = LOT) -> Iterator[list[T]]:
    """`things` in their order, in lists of `size`; the last one may be shorter."""
    rest = iter(things)
    while some := list(islice(rest, size)):
        yield some
