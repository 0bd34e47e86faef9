"""The other end of a line, in memory, behind the real port; and signals to send to it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from edge_agent.errors import OutputError
from edge_agent.outputs.channel import Channel
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.writer import LineDownError, Writer

DEADLINE_S = 60.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return when `condition` holds. Fails after a generous deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE_S} s"
        time.sleep(0.002)


def rule(source: str, active: bool, at: float = 1000.0, camera: str = "cam") -> Signal:
    body = {"kind": "rule", "source": source, "camera": camera, "at": at, "active": active}
    return Signal(SignalKind.RULE, source, camera, at, active, body)


def detections(camera: str = "cam", at: float = 1000.0, **changes: Any) -> Signal:
    body = {
        "kind": "detections",
        "source": camera,
        "camera": camera,
        "at": at,
        "model": "tiny",
        "version": 1,
        "bundle_digest": "a" * 64,
    } | changes
    return Signal(SignalKind.DETECTIONS, camera, camera, at, None, body)


def stock(shelf: str, items: Sequence[tuple[str, int | None, str]], at: float = 1000.0) -> Signal:
    listed = [{"class": name, "count": count, "state": state} for name, count, state in items]
    body = {"kind": "stock", "source": shelf, "camera": "cam", "at": at, "items": listed}
    return Signal(SignalKind.STOCK, shelf, "cam", at, None, body)


def offered(channel: Channel) -> int:
    """How many signals the counters account for."""
    counters = channel.counters()
    return sum(n for cause, n in counters.items() if cause != "connections")


class LinePeer(Writer):
    """Remembers what it is told. Can be down, refuse sources, break, and hold a write."""

    takes = frozenset(SignalKind)

    def __init__(self, holds: frozenset[SignalKind] = frozenset()) -> None:
        self.holds = holds
        self.down = False
        self._connected = False
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self.timing_out: set[str] = set()
        self.tries: Counter[str] = Counter()
        self.passing = threading.Event()
        self.passing.set()
        self.entered = threading.Event()
        self.told: list[Signal] = []
        self.state: dict[str, bool | None] = {}
        self.left = 0
        self.wake: Callable[[], None] = lambda: None

    def open(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._connected = not self.down
        self._reach()

    def write(self, signal: Signal) -> None:
        self.entered.set()
        assert self.passing.wait(DEADLINE_S)
        self._reach()
        self.tries[signal.source] += 1
        if signal.source in self.timing_out:
            raise LineDownError(f"no answer to {signal.source}")
        if signal.source in self.refused:
            raise OutputError(f"{signal.source} is refused")
        if signal.source in self.broken:
            raise ZeroDivisionError(signal.source)
        self.told.append(signal)
        self.state[signal.source] = signal.active

    def tick(self) -> float | None:
        self._reach()
        return None

    def leave(self) -> None:
        self.left += 1

    def lose(self) -> None:
        """Go away and forget everything; the connection notices."""
        self.down = True
        self._connected = False
        self.state.clear()
        self.wake()

    def close(self) -> None:
        self._connected = False

    def _reach(self) -> None:
        if not self._connected:
            raise LineDownError("the peer is away")
