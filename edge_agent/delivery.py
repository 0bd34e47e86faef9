"""The one thread that hands results to the sinks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeError
from edge_agent.results import FrameResult, Sink

_log = structlog.get_logger(__name__)

QUEUE_RESULTS_MAX = 4
TICK_S = 0.25
STAGE = "stage"

Stage = Callable[[FrameResult], FrameResult]
Answer = TypeVar("Answer")


class Delivery:
    """Calls every sink with every result, in order; a sink that raises is counted, not fatal.

    `stage` adds to a result before the sinks see it; where it raises they see the result as
    it was.

    The queue is short: where sinks are slower than inference, inference waits, files are
    read more slowly and live frames are superseded. Nothing is lost without being counted.
    """

    def __init__(self, sinks: Sequence[Sink], clock: Clock, stage: Stage | None = None) -> None:
        self._sinks, self._clock, self._stage = tuple(sinks), clock, stage
        self._results: queue.Queue[FrameResult | None] = queue.Queue(QUEUE_RESULTS_MAX)
        self._errors = {sink.name: 0 for sink in sinks} | ({STAGE: 0} if stage else {})
        self._refused: dict[tuple[str, str], str] = {}
        self._faults: dict[tuple[str, str], str] = {}
        self._latest: dict[str, FrameResult] = {}
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, result: FrameResult) -> None:
        """Hand a result over; waits while the queue is full."""
        self._results.put(result)

    def finish(self, timeout_s: float) -> None:
        """Deliver what is queued, close the sinks, end the thread."""
        self._results.put(None)
        self._thread.join(timeout_s)

    def latest(self, camera: str) -> FrameResult | None:
        return self._latest.get(camera)

    def errors(self) -> dict[str, int]:
        """Calls that raised, by sink; those of the stage under `stage`."""
        return dict(self._errors)

    def _run(self) -> None:
        next_tick_s = self._clock.monotonic() + TICK_S
        while True:
            try:
                result = self._results.get(timeout=TICK_S)
            except queue.Empty:
                pass
            else:
                if result is None:
                    break
                self._take(result)
            now_s = self._clock.monotonic()
            if now_s >= next_tick_s:
                next_tick_s = now_s + TICK_S
                self._tick()
        for sink in self._sinks:
            self._guard(sink.name, "close", sink.close)

    def _take(self, result: FrameResult) -> None:
        result = self._staged(result)
        self._latest[result.camera] = result
        for sink in self._sinks:
            self._guard(sink.name, "take", partial(sink.take, result))

    def _staged(self, result: FrameResult) -> FrameResult:
        if self._stage is None:
            return result
        return self._guard(STAGE, "take", partial(self._stage, result)) or result

    def _tick(self) -> None:
        wall_s = self._clock.wall()
        for sink in self._sinks:
            self._guard(sink.name, "tick", partial(sink.tick, wall_s))

    def _guard(self, name: str, step: str, call: Callable[[], Answer]) -> Answer | None:
        """What `call` answers; None where it raised, which is counted against `name`."""
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001 - counted; no sink is worth a frame
            self._errors[name] += 1
            self._tell(name, step, error)
            return None
        if self._refused.pop((name, step), None):
            _log.info("sink_recovered", sink=name)
        return answer

    def _tell(self, name: str, step: str, error: Exception) -> None:
        """Log an error once: a disk that stays full fails once a frame.

        What the sink refused by name is told again when it had worked in between; a fault of
        the program is not, for it may come with every other frame.
        """
        told = self._refused if isinstance(error, EdgeError) else self._faults
        text = f"{type(error).__name__}: {error}"
        if told.get((name, step)) == text:
            return
        told[name, step] = text
        if isinstance(error, EdgeError):
            _log.warning("sink_failed", sink=name, error=str(error))
        else:
            _log.error("sink_failed", sink=name, exc_info=error)
