"""What arrives from devices, as the slices' handlers get it, and what is counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from protocol.topics import Topic


@dataclass(frozen=True, slots=True)
class Received:
    """One message of an enrolled device.

    Attributes:
        message: the decoded payload; of a kind without a model, None.
        at: when it arrived, Unix seconds.
    """

    topic: Topic
    payload: bytes
    message: Any
    at: float


Tally = Counter[str]
"""What became of messages: `stored`, `duplicates`, `refused.<reason>` and the like."""

Handler = Callable[[Session, Sequence[Received]], Tally]
"""Stores messages of one kind in the batch's transaction. What cannot be stored because of
the message itself is tallied; whatever is raised undoes the whole batch."""


class Counters:
    """Counts by name, added up from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Tally = Counter()

    def add(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._counts.update(counts)

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._counts[name] += number

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)
