"""The queue's one worker: a thread that runs a job at a time, each in its own process."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloud.blobs.store import BlobStore
from cloud.building import importing
from cloud.building.source import write_frames
from cloud.children import ChildCanceled, ChildFailed, ChildLimits, run_child
from cloud.database import Database
from cloud.datasets import service as datasets
from cloud.datasets.service import DatasetManifest
from cloud.errors import HubError
from cloud.files import tail
from cloud.registry import service as registry
from cloud.registry.service import OnBuildRegistered
from cloud.settings import BuildingSettings, TrainingSettings
from cloud.shipped import ShippedRunner
from cloud.training import service, workspace
from cloud.training.models import TrainingJob
from cloud.training.outcome import PRINCIPAL, Finisher
from cloud.training.parameters import TrainingParameters
from cloud.training.progress import ProgressLine, Tail
from cloud.training.states import JobEvent, JobState
from cloud.training.workspace import Workspace

log = logging.getLogger(__name__)

CHILD = (sys.executable, "-m", "cloud.training.child")
IDLE_POLL_S = 0.5
CANCEL_POLL_S = 0.25
ERROR_CHARACTERS_MAX = 4000
_EVENTS = {"exporting": JobEvent.TRAINED, "exported": JobEvent.EXPORTED}


def child_limits(settings: TrainingSettings) -> ChildLimits:
    """How the hub's long children run."""
    return ChildLimits(nice=settings.child_nice, terminate_grace_s=settings.terminate_grace_s)


class TrainingRunner:
    """Runs queued jobs, oldest first, from `start` to `stop`.

    Args:
        folder: jobs' folders are made in here, and removed when a job ends.
        hooks: told of each registered build, in its transaction.
        agent, child: what is started; tests give stand-ins.
    """

    def __init__(
        self,
        database: Database,
        store: BlobStore,
        folder: Path,
        settings: TrainingSettings,
        *,
        hooks: Sequence[OnBuildRegistered] = (),
        building: BuildingSettings | None = None,
        agent: ShippedRunner | None = None,
        child: Sequence[str] = CHILD,
    ) -> None:
        self._database, self._store = database, store
        self._folder, self._settings, self._child = folder, settings, child
        self._agent = agent or ShippedRunner()
        self._finisher = Finisher(
            database, store, hooks, building or BuildingSettings(), child_limits(settings)
        )
        self._wake, self._stopping = threading.Event(), threading.Event()
        # The children are tied to this thread, so it must outlive each of them.
        self._thread = threading.Thread(target=self._loop, name="training", daemon=True)

    def start(self) -> None:
        """Settle what an earlier run of the hub left, then work."""
        with self._database.transaction() as session:
            service.fail_begun(session)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._thread.start()

    def stop(self) -> None:
        """End the running child and the thread. The job is settled at the next start."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Look for a job now."""
        self._wake.set()

    def read_log(self, job: TrainingJob) -> str:
        """The end of what the job's child wrote, while it runs and afterwards."""
        path = Workspace(self._folder / job.id).log
        return job.log or tail(path, self._settings.log_bytes_max)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                with self._database.transaction() as session:
                    job = service.claim_next(session)
                if job is not None:
                    self._run(job)
                    continue
            except Exception:
                log.exception("the training queue failed; it goes on")
            self._wake.wait(IDLE_POLL_S)

    def _run(self, job: TrainingJob) -> None:
        place = Workspace(self._folder / job.id)
        place.folder.mkdir()
        try:
            self._work(job, place)
        except ChildCanceled:
            if not self._stopping.is_set():
                self._end(job, place, JobEvent.CANCEL_REQUESTED, None)
        except (ChildFailed, HubError) as error:
            why = f"{error}; `argosy train log {job.id}` shows more"
            self._end(job, place, JobEvent.ERROR, why)
        except Exception as error:
            log.exception("training job %s failed", job.id)
            self._end(job, place, JobEvent.ERROR, f"the hub failed at it: {error}")
        finally:
            shutil.rmtree(place.folder, ignore_errors=True)

    def _work(self, job: TrainingJob, place: Workspace) -> None:
        watch = _CancelWatch(self._database, job.id, self._stopping)
        dataset = self._prepare(job, place, watch)
        follower = _Follower(self._database, job.id, place, self._settings.progress_every_s)
        run_child(
            [*self._child, str(place.folder)],
            place.log,
            environment=place.environment(),
            canceled=watch,
            on_poll=follower,
            limits=child_limits(self._settings),
        )
        follower.settle()
        self._save_log(job, place)
        self._finisher.finish(job, place, dataset, replace(self._agent, canceled=watch))

    def _prepare(self, job: TrainingJob, place: Workspace, watch: _CancelWatch) -> DatasetManifest:
        start_from = None
        if job.weights not in (service.SCRATCH, service.PARENT):
            start_from = self._opened(Path(job.weights), place, watch)
        with self._database.reading() as session:
            version = datasets.get_version(session, PRINCIPAL, job.dataset, job.dataset_version)
            released = datasets.get_dataset(session, PRINCIPAL, job.dataset).golden_frames_released
            if job.weights == service.PARENT:
                number = job.parent_version or 0
                parent = registry.get_version(session, PRINCIPAL, job.model, number)
                start_from = self._store.path(parent.weights_sha256)
        dataset = datasets.read_manifest(self._store, version)
        parameters = TrainingParameters.model_validate(job.parameters)
        workspace.prepare(place, self._store, dataset, parameters, start_from)
        write_frames(dataset, self._store, place.golden, released=released)
        return dataset

    def _opened(self, outside: Path, place: Workspace, watch: _CancelWatch) -> Path:
        """An outside checkpoint as it was saved anew once it was inspected."""
        return importing.inspect(
            outside,
            place.folder / "inspection",
            lambda command: run_child(
                command, place.log, canceled=watch, limits=child_limits(self._settings)
            ),
        ).weights

    def _save_log(self, job: TrainingJob, place: Workspace) -> None:
        with self._database.transaction() as session:
            row = service.get_job(session, PRINCIPAL, job.id)
            row.log = tail(place.log, self._settings.log_bytes_max)
            session.add(row)

    def _end(self, job: TrainingJob, place: Workspace, event: JobEvent, why: str | None) -> None:
        with self._database.transaction() as session:
            row = service.get_job(session, PRINCIPAL, job.id)
            service.move(row, event)
            row.error = why and why[:ERROR_CHARACTERS_MAX]
            row.log = tail(place.log, self._settings.log_bytes_max)
            session.add(row)


@dataclass
class _CancelWatch:
    """Whether the job is to end; asks the database at most every CANCEL_POLL_S."""

    database: Database
    job_id: str
    stopping: threading.Event
    _asked_at: float = field(default=0.0, init=False)
    _canceled: bool = field(default=False, init=False)

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._canceled and now - self._asked_at >= CANCEL_POLL_S:
            self._asked_at = now
            with self.database.reading() as session:
                self._canceled = service.get_job(session, PRINCIPAL, self.job_id).cancel_requested
        return self._canceled or self.stopping.is_set()


@dataclass
class _Follower:
    """Takes the child's progress into the job's row, coalesced, and moves its state."""

    database: Database
    job_id: str
    place: Workspace
    every_s: float
    _tail: Tail = field(init=False)
    _pending: ProgressLine | None = field(default=None, init=False)
    _written_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._tail = Tail(self.place.progress)

    def __call__(self) -> None:
        for line in self._tail.lines():
            self._pending = line
            if line.stage in _EVENTS:
                self._write(_EVENTS[line.stage])
        if self._pending and time.monotonic() - self._written_at >= self.every_s:
            self._write(None)

    def settle(self) -> None:
        """Raises ChildFailed where the child ended well without having exported."""
        self()
        if self._state() is not JobState.EVALUATING:
            raise ChildFailed("the training ended without an exported model")

    def _state(self) -> JobState:
        with self.database.reading() as session:
            return JobState(service.get_job(session, PRINCIPAL, self.job_id).state)

    def _write(self, event: JobEvent | None) -> None:
        if self._pending is None:
            return
        with self.database.transaction() as session:
            row = service.get_job(session, PRINCIPAL, self.job_id)
            if event is not None:
                service.move(row, event)
            row.progress = self._pending.model_dump(mode="json")
            session.add(row)
        self._pending, self._written_at = None, time.monotonic()
