"""A time limit around a source whose driver has none of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from edge_agent.cameras.source import Grab, Source
from edge_agent.errors import CameraError

_CLOSE_TIMEOUT_S = 1.0


class TimedSource:
    """Opens, reads and closes a source in a thread of its own, and gives up where that hangs.

    A thread that a driver holds cannot be ended. It is left behind, closes the source if it
    ever comes back, and says by `hangs` that the device cannot be opened again until then.
    """

    fps: float | None = None

    def __init__(self, name: str, open_source: Callable[[], Source], read_timeout_s: float) -> None:
        self._name, self._open_source, self._read_timeout_s = name, open_source, read_timeout_s
        self._source: Source | None = None
        self._jobs: SimpleQueue[Callable[[], Grab | None] | None] = SimpleQueue()
        self._answers: SimpleQueue[Grab | Exception | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"read-{name}", daemon=True)

    @property
    def hangs(self) -> bool:
        """Whether its thread still holds the device."""
        return self._thread.is_alive()

    def open(self, timeout_s: float) -> None:
        """Open the source. Raises CameraError where it does not open in time."""
        self._thread.start()
        self._ask(self._open, timeout_s)

    def read(self, decode: bool = True) -> Grab | None:
        return self._ask(lambda: self._held().read(decode), self._read_timeout_s)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _held(self) -> Source:
        if self._source is None:
            raise CameraError(f"{self._name} is not open")
        return self._source

    def _open(self) -> None:
        self._source = self._open_source()
        self.fps = self._source.fps

    def _ask(self, job: Callable[[], Grab | None], timeout_s: float) -> Grab | None:
        self._jobs.put(job)
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            self._jobs.put(None)
            raise CameraError(
                f"{self._name} did not answer for {timeout_s:g} s; check its cable and driver"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._answers.put(job())
            except Exception as error:  # noqa: BLE001 - raised again by the one who asked
                self._answers.put(error)
        if self._source is not None:
            self._source.close()
