"""The one thread that hands results to the sinks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

import structlog

from edge_agent.clock import Clock
from edge_agent.results import FrameResult, Sink

_log = structlog.get_logger(__name__)

QUEUE_RESULTS_MAX = 4
TICK_S = 0.25


class Delivery:
    """Calls every sink with every result, in order; a sink that raises is counted, not fatal.

    The queue is short: where sinks are slower than inference, inference waits, files are
    read more slowly and live frames are superseded. Nothing is lost without being counted.
    """

    def __init__(self, sinks: Sequence[Sink], clock: Clock) -> None:
        self._sinks, self._clock = tuple(sinks), clock
        self._results: queue.Queue[FrameResult | None] = queue.Queue(QUEUE_RESULTS_MAX)
        self._errors = {sink.name: 0 for sink in sinks}
        self._last_errors: dict[str, str] = {}
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
        """Calls that raised, by sink."""
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
            self._guard(sink, sink.close)

    def _take(self, result: FrameResult) -> None:
        self._latest[result.camera] = result
        for sink in self._sinks:
            self._guard(sink, lambda sink=sink: sink.take(result))  # type: ignore[misc]

    def _tick(self) -> None:
        wall_s = self._clock.wall()
        for sink in self._sinks:
            self._guard(sink, lambda sink=sink: sink.tick(wall_s))  # type: ignore[misc]

    def _guard(self, sink: Sink, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - counted; a sink is not worth a frame
            self._errors[sink.name] += 1
            text = f"{type(error).__name__}: {error}"
            # A disk that stays full fails once a frame; the log is told once.
            if self._last_errors.get(sink.name) != text:
                self._last_errors[sink.name] = text
                _log.exception("sink failed", sink=sink.name)
