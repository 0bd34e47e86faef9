"""Background work of the hub: a step that is taken again and again in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Loop:
    """Runs `step` every `period_s` until stopped. A step that fails is logged and counted.

    Attributes:
        failures: steps that raised since the start.
    """

    def __init__(self, name: str, period_s: float, step: Callable[[], None]) -> None:
        self.name = name
        self.failures = 0
        self._period_s = period_s
        self._step = step
        self._stopping = threading.Event()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"loop-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Take the next step now instead of at the end of the period."""
        self._due.set()

    def stop(self) -> None:
        """End after the step that is being taken, and wait for it."""
        self._stopping.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception:  # the next step gets its chance
                self.failures += 1
                log.exception("a step of the loop %s failed", self.name)
            self._due.wait(self._period_s)
            self._due.clear()
