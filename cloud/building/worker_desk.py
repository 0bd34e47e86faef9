"""The desk between jobs that need a GPU and the workers that have one.

A job's thread lays a task down and waits; a worker takes it, holds it by a lease, and brings
files back. A task lives as long as the job's attempt that waits for it, so the desk is kept in
memory: after a stop of the hub the attempt begins anew, and with it its tasks.
"""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloud.building.worker_fit import HEARD_S, Ordered, fit, lack
from cloud.building.worker_schemas import (
    OUTPUTS,
    DeskView,
    OutputName,
    RunOrder,
    TaskProgress,
    TaskView,
    WaitingView,
    WorkerHello,
    WorkerView,
)
from cloud.children import ChildCanceled, ChildFailed
from cloud.errors import ConflictError, InvalidError, NotFoundError

POLL_S = 0.2
WORKERS_MAX = 64
MIB = 1024**2
RUN_BYTES_BASE, RUN_BYTES_PER_IMAGE = MIB, 256 * 1024
OUTPUT_BYTES_MAX: Mapping[OutputName, int] = {
    "predictions": 4 * 1024 * MIB,
    "summary": MIB,
    "stats": 8 * MIB,
    "engine": 2 * 1024 * MIB,
}
START_REMEDY = "start `argosy worker run` on a machine that fits, with an administrator's token"


@dataclass(frozen=True)
class Patience:
    """How long who waits for whom.

    Attributes:
        wait_s: for a worker to take a task.
        run_s: for a worker that has one to end it.
        lease_s: for a sign of life of a worker.
        takes_max: workers that may fall silent over one task.
    """

    wait_s: float = 4 * 3600.0
    run_s: float = 3 * 3600.0
    lease_s: float = 60.0
    takes_max: int = 3


@dataclass(frozen=True)
class Done:
    """What a worker brought."""

    worker: WorkerHello
    outputs: Mapping[OutputName, Path]


@dataclass(frozen=True)
class Status:
    """How far a task is: who has it, and what they said last.

    Attributes:
        lack: where nobody that is there could take it, in words.
    """

    worker: str | None
    done: int = 0
    total: int = 0
    lack: str = ""


@dataclass
class _Lease:
    token: str
    worker: WorkerHello
    taken_s: float
    until_s: float


@dataclass
class _Task:
    id: str
    ordered: Ordered
    laid_s: float
    waiting_since_s: float
    takes: int = 0
    lease: _Lease | None = None
    progress: TaskProgress = field(default_factory=lambda: TaskProgress(done=0, total=0))
    outputs: dict[OutputName, Path] = field(default_factory=dict)
    done: Done | None = None
    failure: str | None = None
    untaken: bool = False


@dataclass
class _Known:
    """A worker that was heard of."""

    hello: WorkerHello
    heard_s: float
    unfit: tuple[str, ...] = ()


class Desk:
    """Tasks that wait for workers, and workers that were heard of. Safe from many threads."""

    def __init__(
        self, patience: Patience | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.patience, self._monotonic = patience or Patience(), monotonic
        self._changed = threading.Condition()
        self._tasks: dict[str, _Task] = {}
        self._workers: dict[str, _Known] = {}

    def get_done(
        self,
        ordered: Ordered,
        *,
        canceled: Callable[[], bool] = lambda: False,
        tell: Callable[[Status], None] = lambda status: None,  # noqa: ARG005
    ) -> Done:
        """Lay a task down and wait for its end.

        Raises:
            ChildCanceled: `canceled()` came true; a worker that has the task is told.
            ChildFailed: a worker could not do it, or each fell silent.
            InvalidError: nobody took it.
        """
        now_s = self._monotonic()
        task = _Task(uuid.uuid4().hex, ordered, now_s, now_s)
        ordered.folder.mkdir(parents=True, exist_ok=True)
        with self._changed:
            self._tasks[task.id] = task
        try:
            while True:
                with self._changed:
                    if task.done is None and task.failure is None:
                        self._changed.wait(POLL_S)
                    self._look(task)
                    lease, said = task.lease, task.progress
                    lacking = "" if lease else self._lack(ordered)
                    if task.done is not None:
                        return task.done
                    if task.failure is not None:
                        raise _ended(task, task.failure)
                if canceled():
                    raise ChildCanceled
                worker = None if lease is None else lease.worker.name
                tell(Status(worker, said.done, said.total, lacking))
        finally:
            with self._changed:
                del self._tasks[task.id]

    def claim(self, hello: WorkerHello) -> tuple[TaskView | None, tuple[str, ...]]:
        """The task that has waited longest of those that the worker's machine can do, now its
        own, or why those that wait are not for it."""
        with self._changed:
            now_s, unfit = self._monotonic(), []
            known = self._heard(hello, now_s)
            for task in self._tasks.values():
                self._look(task)
                if task.lease is not None or task.done is not None or task.failure is not None:
                    continue
                suits = fit(task.ordered, hello.capabilities)
                if not suits.fits:
                    label = task.ordered.identity.label()
                    unfit.append(f"{label}: {'; '.join(suits.reasons)}")
                    continue
                until_s = now_s + self.patience.lease_s
                task.lease = _Lease(secrets.token_hex(16), hello, now_s, until_s)
                task.takes += 1
                known.unfit = ()
                return self._view(task, task.lease), ()
            known.unfit = tuple(unfit)
            return None, known.unfit

    def renew(self, task_id: str, lease: str, progress: TaskProgress | None = None) -> None:
        """A sign of life. Raises NotFoundError, ConflictError: the task is no longer theirs."""
        with self._changed:
            task = self._held(task_id, lease)
            if progress is not None:
                task.progress = progress

    def file(self, task_id: str, lease: str, sha256: str) -> Path:
        """Where a file of the task lies. Raises as `renew` does, NotFoundError for others."""
        with self._changed:
            path = self._held(task_id, lease).ordered.files.get(sha256)
        if path is None:
            raise NotFoundError(f"the task has no file {sha256[:12]}", "check the digest")
        return path

    def place(self, task_id: str, lease: str, name: OutputName) -> tuple[Path, int]:
        """Where an output may be written for now, and of how many bytes at most.

        Raises:
            NotFoundError, ConflictError: the task is no longer theirs.
            InvalidError: it has no such output.
        """
        with self._changed:
            ordered = self._held(task_id, lease).ordered
        if name not in OUTPUTS[ordered.order.kind]:
            raise InvalidError(
                f"a {ordered.order.kind} has no {name}",
                f"it ends with {', '.join(OUTPUTS[ordered.order.kind])}",
            )
        bytes_max = OUTPUT_BYTES_MAX[name]
        if isinstance(ordered.order, RunOrder) and name == "predictions":
            images = len(ordered.order.images)
            bytes_max = min(bytes_max, RUN_BYTES_BASE + images * RUN_BYTES_PER_IMAGE)
        return ordered.folder / f"{name}.{secrets.token_hex(8)}.partial", bytes_max

    def keep(self, task_id: str, lease: str, name: OutputName, partial: Path) -> None:
        """Take an output that was written whole. Raises as `place` does."""
        with self._changed:
            task = self._held(task_id, lease)
            task.outputs[name] = partial.replace(task.ordered.folder / f"worker-{name}")

    def finish(self, task_id: str, lease: str) -> None:
        """The task is done; no other result of it is taken.

        Raises:
            NotFoundError, ConflictError: the task is no longer theirs.
            InvalidError: an output was not brought.
        """
        with self._changed:
            task = self._held(task_id, lease)
            missing = set(OUTPUTS[task.ordered.order.kind]) - set(task.outputs)
            if missing:
                raise InvalidError(f"there is no {', '.join(sorted(missing))}", "send it first")
            assert task.lease is not None  # noqa: S101 - it is held
            task.done, task.lease = Done(task.lease.worker, dict(task.outputs)), None
            self._changed.notify_all()

    def fail(self, task_id: str, lease: str, message: str, *, again: bool) -> None:
        """The worker cannot do it, or `again`, only it cannot. Raises as `renew` does."""
        with self._changed:
            task = self._held(task_id, lease)
            assert task.lease is not None  # noqa: S101 - it is held
            said = f"worker {task.lease.worker.name}: {message}"
            if again:
                self._free(task, said)
            else:
                task.failure, task.lease = said, None
            self._changed.notify_all()

    def view(self) -> DeskView:
        """Workers and tasks as they are now."""
        with self._changed:
            now_s = self._monotonic()
            tasks = list(self._tasks.values())
            holders = {t.lease.worker.name: t.id for t in tasks if t.lease is not None}
            return DeskView(
                workers=tuple(_worker_view(w, now_s, holders) for w in self._workers.values()),
                tasks=tuple(_task_view(task, now_s) for task in tasks),
            )

    def unheard(self) -> str:
        """What is to be said where no worker was heard of; empty where one was."""
        with self._changed:
            return self._lack(None)

    def _lack(self, ordered: Ordered | None) -> str:
        since_s = self._monotonic() - HEARD_S
        there = [w.hello.capabilities for w in self._workers.values() if w.heard_s >= since_s]
        return lack(ordered, there, self.patience.wait_s)

    def _heard(self, hello: WorkerHello, now_s: float) -> _Known:
        self._workers.pop(hello.name, None)
        while len(self._workers) >= WORKERS_MAX:
            del self._workers[next(iter(self._workers))]  # not heard of for the longest
        known = self._workers[hello.name] = _Known(hello, now_s)
        return known

    def _held(self, task_id: str, lease: str) -> _Task:
        task = self._tasks.get(task_id)
        if task is None:
            raise NotFoundError(f"there is no task {task_id}", "ask for another; its job ended")
        self._look(task)
        if task.lease is None or not secrets.compare_digest(task.lease.token, lease):
            raise ConflictError(f"the task {task_id} is not held by that lease", "ask for another")
        now_s = self._monotonic()
        task.lease.until_s = now_s + self.patience.lease_s
        self._heard(task.lease.worker, now_s)
        return task

    def _look(self, task: _Task) -> None:
        """Settle what the passing of time did to a task."""
        if task.done is not None or task.failure is not None:
            return
        now_s, patience = self._monotonic(), self.patience
        if task.lease is None:
            if now_s - task.waiting_since_s > patience.wait_s:
                task.failure, task.untaken = self._nobody(task), True
            return
        name = task.lease.worker.name
        if now_s >= task.lease.until_s:
            self._free(task, f"worker {name} was silent for {patience.lease_s:g} s")
        elif now_s - task.lease.taken_s > patience.run_s:
            task.failure = f"worker {name} was not done after {patience.run_s:g} s"
            task.lease = None

    def _free(self, task: _Task, why: str) -> None:
        """Let another worker have it, or none where too many had it."""
        task.lease, task.progress = None, TaskProgress(done=0, total=0)
        task.outputs.clear()
        task.waiting_since_s = self._monotonic()
        if task.takes >= self.patience.takes_max:
            task.failure = f"{why}; it was taken {task.takes} times"

    def _nobody(self, task: _Task) -> str:
        label = task.ordered.identity.label()
        said = f"no GPU worker took {label} within {self.patience.wait_s:g} s"
        reasons = [f"{name} {why}" for name, w in self._workers.items() for why in w.unfit]
        return f"{said} ({'; '.join(reasons)})" if reasons else said

    def _view(self, task: _Task, lease: _Lease) -> TaskView:
        return TaskView(
            id=task.id,
            lease=lease.token,
            lease_s=self.patience.lease_s,
            order=task.ordered.order,
        )


def _ended(task: _Task, why: str) -> Exception:
    return InvalidError(why, START_REMEDY) if task.untaken else ChildFailed(why)


def _worker_view(known: _Known, now_s: float, holders: Mapping[str, str]) -> WorkerView:
    machine = known.hello.capabilities
    return WorkerView(
        name=known.hello.name,
        gpu_name=machine.gpu_name,
        compute_capability=machine.compute_capability,
        tensorrt_version=machine.tensorrt_version,
        runtimes=tuple(f"{r.runtime} {r.version}" for r in machine.runtimes),
        silent_s=round(now_s - known.heard_s, 1),
        task=holders.get(known.hello.name),
        unfit=known.unfit,
    )


def _task_view(task: _Task, now_s: float) -> WaitingView:
    return WaitingView(
        id=task.id,
        kind=task.ordered.order.kind,
        needs=task.ordered.identity.label(),
        age_s=round(now_s - task.laid_s, 1),
        worker=None if task.lease is None else task.lease.worker.name,
        done=task.progress.done,
        total=task.progress.total,
    )
