"""One named thread that does one blocking thing after another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import structlog

log = structlog.get_logger(__name__)


class Worker:
    """Runs what is submitted, in order, on a daemon thread: it never holds up an exit."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.renew()

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` later. It tells its own outcome; what it raises is logged."""
        self._jobs.put(job)

    def renew(self) -> None:
        """Go on with another thread: the job that runs hangs, and nobody can end it. Should it
        come back after all, its thread takes no other."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while threading.current_thread() is self._thread:
            job = self._jobs.get()
            try:
                job()
            except Exception:
                log.exception("job_failed", worker=self._name)
