"""A side of a comparison: a process of its own that does a turn when it is asked.

Both sides stay loaded and warm, and only one works at a time. In processes of their own
neither sees the other's thread pools, global settings or memory.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tests.benchmarks.harness import bootstrap_interval, in_turns, median_ratio, spread

Turn = Callable[[int], float]
"""Does so many frames and says how many seconds they took."""

START_DEADLINE_S = 120.0
TURN_DEADLINE_S = 300.0
WARM_FRAMES = 12
SETTLE_S = 0.02


@dataclass(frozen=True)
class _Failure:
    """What a side sends where it has no figure."""

    reason: str

    def as_error(self) -> RuntimeError:
        return RuntimeError(f"a side of the comparison failed: {self.reason}")


class Side:
    """The other process, seen from here."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def fps(self, frames: int) -> float:
        """Frames per second of one turn. Raises RuntimeError where the side failed."""
        time.sleep(SETTLE_S)
        self._pipe.send(frames)
        return frames / float(self._answer(TURN_DEADLINE_S))

    def wait_until_ready(self) -> None:
        self._answer(START_DEADLINE_S)
        self.fps(WARM_FRAMES)

    def _answer(self, deadline_s: float) -> Any:
        if not self._pipe.poll(deadline_s):
            raise RuntimeError(f"a side of the comparison did not answer in {deadline_s:g} s")
        answer = self._pipe.recv()
        if isinstance(answer, _Failure):
            raise answer.as_error()
        return answer


@contextmanager
def side(make: Callable[..., Turn], *arguments: Any) -> Iterator[Side]:
    """Start a process that calls `make(*arguments)` once and then does turns; end it after."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        found = Side(ours)
        found.wait_until_ready()
        yield found
    finally:
        ours.close()
        process.join(10)
        if process.is_alive():
            process.kill()


class Comparison:
    """Paired figures of two sides."""

    def __init__(self, firsts: list[float], seconds: list[float], frames_per_turn: int) -> None:
        self.firsts, self.seconds, self.frames_per_turn = firsts, seconds, frames_per_turn

    @property
    def median(self) -> float:
        return median_ratio(self.firsts, self.seconds)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the median of the paired ratios."""
        return bootstrap_interval([a / b for a, b in zip(self.firsts, self.seconds, strict=True)])

    def detail(self, first: str, second: str) -> dict[str, Any]:
        """Both sides' figures under their names."""
        return {
            "median": self.median,
            "interval_95": self.interval,
            f"{first}_fps": spread(self.firsts),
            f"{second}_fps": spread(self.seconds),
            "frames_per_turn": self.frames_per_turn,
        }


def compare(first: Side, second: Side, turns: int, frames_per_turn: int) -> Comparison:
    """Short turns in alternating order, so that what disturbs the machine meets both."""
    firsts, seconds = in_turns(
        lambda: first.fps(frames_per_turn), lambda: second.fps(frames_per_turn), turns
    )
    return Comparison(firsts, seconds, frames_per_turn)


def _serve(pipe: Connection, make: Callable[..., Turn], arguments: tuple[Any, ...]) -> None:
    try:
        turn = make(*arguments)
        pipe.send(True)
        while True:
            pipe.send(turn(pipe.recv()))
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 - told to the one who compares
        pipe.send(_Failure(f"{type(error).__name__}: {error}"))
