"""What a handler works with: a folder, progress, a log, children."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.blobs.store import BlobStore
from cloud.children import ChildCanceled, ChildLimits, run_child
from cloud.database import Database
from cloud.jobs.models import Job

LOG_NAME = "job.log"
CANCEL_POLL_S = 0.25
PROGRESS_EVERY_S = 0.5

Handler = Callable[["JobContext"], Mapping[str, Any]]
"""Does a job's work and answers its result. HubError and ChildFailed say why it cannot."""


@dataclass
class JobContext:
    """One attempt of a job. Used by the one thread that runs it.

    Attributes:
        job: the row as it was claimed.
        folder: empty at first, gone when the attempt is over.
        save: stores a progress, and answers whether the job is to end.
    """

    job: Job
    folder: Path
    database: Database
    store: BlobStore
    save: Callable[[dict[str, Any] | None], bool]
    stopping: Callable[[], bool] = lambda: False
    limits: ChildLimits = field(default_factory=ChildLimits)
    _started: float = field(default_factory=time.monotonic, init=False)
    _stage: str = field(default="", init=False)
    _stage_started: float = field(default=0.0, init=False)
    _saved_at: float = field(default=0.0, init=False)
    _asked_at: float = field(default=0.0, init=False)
    _canceled: bool = field(default=False, init=False)

    @property
    def log_path(self) -> Path:
        return self.folder / LOG_NAME

    def log(self, text: str) -> None:
        """A line for people."""
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def progress(self, stage: str, done: float = 0, total: float = 0, **more: Any) -> None:
        """Say how far the job is; a new stage at once, the rest at most twice a second.

        Raises:
            ChildCanceled: the job is to end.
        """
        now = time.monotonic()
        fresh = stage != self._stage
        if fresh:
            self._stage, self._stage_started = stage, now
            self.log(f"{stage} …")
        if fresh or done >= total or now - self._saved_at >= PROGRESS_EVERY_S:
            self._saved_at = now
            spent_s = now - self._stage_started
            remaining_s = spent_s * (total - done) / done if 0 < done <= total else None
            said = {
                "stage": stage,
                "done": done,
                "total": total,
                "elapsed_s": round(now - self._started, 1),
                "remaining_s": None if remaining_s is None else round(remaining_s, 1),
                **more,
            }
            self._canceled = self.save(said) or self._canceled
        self.check()

    def canceled(self) -> bool:
        """Whether the job is to end; asks the database at most every CANCEL_POLL_S."""
        now = time.monotonic()
        if not self._canceled and now - self._asked_at >= CANCEL_POLL_S:
            self._asked_at = now
            self._canceled = self.save(None)
        return self._canceled or self.stopping()

    def check(self) -> None:
        """Raises ChildCanceled where the job is to end."""
        if self._canceled or self.stopping():
            raise ChildCanceled

    def child(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a child process to its end, its output in the job's log.

        Raises:
            ChildFailed, ChildCanceled: as `run_child` does.
        """
        run_child(
            command,
            self.log_path,
            environment=environment,
            canceled=self.canceled,
            on_poll=on_poll,
            limits=self.limits,
        )
