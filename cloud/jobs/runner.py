"""The worker of the queue: threads that run one job at a time each."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloud.access.principal import service_principal
from cloud.blobs.store import BlobStore
from cloud.children import ChildCanceled, ChildFailed, ChildLimits
from cloud.database import Database
from cloud.errors import HubError
from cloud.files import tail
from cloud.jobs import service
from cloud.jobs.context import LOG_NAME, Handler, JobContext
from cloud.jobs.models import Job
from cloud.jobs.states import JobEvent

log = logging.getLogger(__name__)

PRINCIPAL = service_principal("jobs")
IDLE_POLL_S = 0.5


class JobRunner:
    """Runs due jobs of the known kinds, oldest first, from `start` to `stop`.

    Args:
        apart: kinds that wait for others much of their time; they have a thread of their own.
        folder: jobs' folders are made in here, and removed when an attempt is over.
        handlers: who does which kind.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        folder: Path,
        handlers: Mapping[str, Handler],
        *,
        apart: Sequence[str] = (),
        limits: ChildLimits | None = None,
        log_bytes_max: int = 1024 * 1024,
    ) -> None:
        self._database, self._store, self._folder = database, store, folder
        self._handlers, self._limits = dict(handlers), limits or ChildLimits()
        self._log_bytes_max = log_bytes_max
        self._wake, self._stopping = threading.Event(), threading.Event()
        lanes = ([k for k in handlers if k not in apart], [k for k in handlers if k in apart])
        # Children are tied to their thread, so it must outlive each of them.
        self._threads = [
            threading.Thread(target=self._loop, args=(kinds,), name=f"jobs-{n}", daemon=True)
            for n, kinds in enumerate(lanes)
            if kinds
        ]

    def start(self) -> None:
        """Settle what an earlier run of the hub left, then work."""
        with self._database.transaction() as session:
            service.interrupt_running(session, time.time())
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the running jobs' attempts and the threads; they are settled at the next start."""
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def wake(self) -> None:
        """Look for a job now."""
        self._wake.set()

    def read_log(self, job: Job) -> str:
        """The end of what the job wrote, while it runs and afterwards."""
        current = tail(self._folder / job.id / LOG_NAME, self._log_bytes_max)
        return current or job.log

    def _loop(self, kinds: Sequence[str]) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                with self._database.transaction() as session:
                    job = service.claim_next(session, kinds, time.time())
                if job is not None:
                    self._run(job)
                    continue
            except Exception:
                log.exception("the job queue failed; it goes on")
            self._wake.wait(IDLE_POLL_S)

    def _run(self, job: Job) -> None:
        folder = self._folder / job.id
        folder.mkdir()
        context = JobContext(
            job=job,
            folder=folder,
            database=self._database,
            store=self._store,
            save=lambda progress: self._save(job.id, progress),
            stopping=self._stopping.is_set,
            limits=self._limits,
        )
        try:
            result = self._handlers[job.kind](context)
        except ChildCanceled:
            if not self._stopping.is_set():
                self._end(context, JobEvent.CANCEL_REQUESTED, None)
        except ChildFailed as error:
            self._cut_off(context, f"{error}; `argosy job log {job.id}` shows more")
        except HubError as error:
            self._end(context, JobEvent.ERROR, str(error))
        except Exception as error:
            log.exception("job %s failed", job.id)
            self._end(context, JobEvent.ERROR, f"the hub failed at it: {error}")
        else:
            self._end(context, JobEvent.DONE, None, dict(result))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _save(self, job_id: str, progress: dict[str, Any] | None) -> bool:
        """Store a progress; whether the job is to end."""
        if progress is None:
            with self._database.reading() as session:
                return service.get(session, PRINCIPAL, job_id).cancel_requested
        with self._database.transaction() as session:
            row = service.get(session, PRINCIPAL, job_id)
            row.progress = progress
            session.add(row)
            return row.cancel_requested

    def _cut_off(self, context: JobContext, why: str) -> None:
        context.log(why)
        with self._database.transaction() as session:
            row = service.get(session, PRINCIPAL, context.job.id)
            row.log = tail(context.log_path, self._log_bytes_max)
            service.interrupt(session, row, why, time.time())

    def _end(
        self,
        context: JobContext,
        event: JobEvent,
        why: str | None,
        result: dict[str, Any] | None = None,
    ) -> None:
        if why:
            context.log(why)
        with self._database.transaction() as session:
            row = service.get(session, PRINCIPAL, context.job.id)
            row.result = result
            row.log = tail(context.log_path, self._log_bytes_max)
            service.finish(session, row, event, why, time.time())
