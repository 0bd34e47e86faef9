"""What a GPU worker does: ask for a task, fetch its files, run the agent, bring what came out.

It never gives up: where the hub is away it asks again, later and later. Ended in the middle of
a task it hands the task back.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cloud.building.worker_cache import FileCache, WrongBytesError
from cloud.building.worker_link import HubAway, HubRefused, TaskGone, WorkerLink
from cloud.building.worker_schemas import (
    OutputName,
    PlanOrder,
    RunOrder,
    TaskView,
    WorkerHello,
    image_name,
)
from cloud.children import ChildCanceled, ChildFailed, run_child
from cloud.shipped import ShippedRunner

POLL_S = 1.0
DELAY_FIRST_S, DELAY_MAX_S = 1.0, 60.0
BEATS_PER_LEASE = 6
SEND_ATTEMPTS = 4

OnProgress = Callable[[str, int, int], None]


def delay_s(failures: int, rng: random.Random) -> float:
    """How long to wait after so many failures in a row: full jitter below a doubling bound."""
    return rng.uniform(0, min(DELAY_MAX_S, DELAY_FIRST_S * 2.0 ** min(failures, 16)))


class Heart:
    """Tells the hub now and then how far a task is, and learns whether it is still wanted."""

    def __init__(
        self,
        link: WorkerLink,
        task: TaskView,
        on_progress: OnProgress,
        monotonic: Callable[[], float],
    ) -> None:
        self._link, self._task, self._monotonic = link, task, monotonic
        self._on_progress = on_progress
        self._every_s = task.lease_s / BEATS_PER_LEASE
        self._due_s, self._done, self._total = monotonic(), 0, 0
        self.lost = False

    def tell(self, done: int, total: int) -> None:
        """So much of it is done."""
        self._done, self._total = done, total
        self._on_progress(self._task.order.kind, done, total)

    def canceled(self) -> bool:
        """Whether the task is not wanted any more; asks the hub when that is due."""
        now_s = self._monotonic()
        if not self.lost and now_s >= self._due_s:
            self._due_s = now_s + self._every_s
            try:
                self._link.progress(self._task, self._done, self._total)
            except TaskGone:
                self.lost = True
            except HubAway:  # a passing fault; when it lasts, the lease ends and says so
                pass
        return self.lost


@dataclass
class Worker:
    """One worker with its machine.

    Attributes:
        folder: for tasks at work, and timings of TensorRT.
        agent: the command that `argosy-agent` is.
        log: told lines for people.
    """

    link: WorkerLink
    cache: FileCache
    folder: Path
    hello: WorkerHello
    agent: Sequence[str]
    log: Callable[[str], None]
    on_progress: OnProgress = lambda what, done, total: None  # noqa: ARG005
    rng: random.Random = field(default_factory=random.Random)
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    _said: str = field(default="", init=False)

    def run(self, *, once: bool = False) -> None:
        """Work until interrupted, or until one task is over."""
        failures = 0
        while True:
            try:
                worked = self.step()
                failures = 0
            except HubAway as error:
                worked, failures = False, failures + 1
                self._say(str(error))
            if worked and once:
                return
            if failures:
                self.sleep(delay_s(failures, self.rng))
            elif not worked:
                self.sleep(POLL_S * self.rng.uniform(0.5, 1.5))

    def step(self) -> bool:
        """Ask for a task and do it; False where there is none for this machine."""
        claim = self.link.claim(self.hello)
        if claim.task is None:
            unfit = "; ".join(claim.unfit)
            self._say(f"not for this machine: {unfit}" if unfit else "waiting for work")
            return False
        self._said = ""
        self._do(claim.task)
        return True

    def _do(self, task: TaskView) -> None:
        name, began_s = f"{task.order.kind} {task.id[:8]}", self.monotonic()
        self.log(f"{name}: {_what(task)}")
        work = self.folder / "work" / task.id
        heart = Heart(self.link, task, self.on_progress, self.monotonic)
        try:
            work.mkdir(parents=True)
            outputs = self._made(task, work, heart)
            for output, path in outputs.items():
                self._patiently(partial(self.link.bring, task, output, path))
            self._patiently(partial(self.link.finish, task))
            self.log(f"{name}: done in {self.monotonic() - began_s:.1f} s")
        except (TaskGone, ChildCanceled):
            self.log(f"{name}: no longer wanted")
        except (ChildFailed, HubRefused) as error:
            self.log(f"{name}: {error}")
            self._give_up(task, str(error), again=False)
        except (OSError, WrongBytesError, HubAway) as error:
            self.log(f"{name}: {error}; handed back")
            self._give_up(task, str(error), again=True)
        except KeyboardInterrupt:
            self._give_up(task, "the worker was stopped", again=True)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _made(self, task: TaskView, work: Path, heart: Heart) -> Mapping[OutputName, Path]:
        order = task.order
        if isinstance(order, RunOrder):
            self.cache.trim({*order.bundle.values(), *(image.sha256 for image in order.images)})
            return self._run(task, order, work, heart)
        self.cache.trim({order.onnx})
        return self._plan(task, order, work, heart)

    def _run(
        self, task: TaskView, order: RunOrder, work: Path, heart: Heart
    ) -> Mapping[OutputName, Path]:
        bundle, images = work / "bundle", []
        for path, sha256 in order.bundle.items():
            self._link_to(task, sha256, bundle / path)
        for number, image in enumerate(order.images):
            images.append(work / "images" / image_name(number, image.suffix))
            self._link_to(task, image.sha256, images[-1])
        runner = ShippedRunner((*self.agent, "evaluate"), canceled=heart.canceled)
        out = work / "run"
        runner.run(
            bundle,
            images,
            out,
            order.floor,
            latency_frames=order.latency_frames,
            on_progress=heart.tell,
        )
        return {
            "predictions": out / "predictions.jsonl",
            "summary": out / "summary.json",
            "stats": out / "stats.json",
        }

    def _plan(
        self, task: TaskView, order: PlanOrder, work: Path, heart: Heart
    ) -> Mapping[OutputName, Path]:
        engine, summary, progress = (work / n for n in ("model.engine", "summary.json", "progress"))
        self._link_to(task, order.onnx, work / "model.onnx")
        arguments = {
            "--onnx": work / "model.onnx",
            "--out": engine,
            "--precision": order.precision.value,
            "--file-precision": order.file_precision.value,
            "--batch": order.batch,
            "--timing-cache": self.folder / "timings",
            "--summary": summary,
            "--progress": progress,
        }
        run_child(
            [*self.agent, "build-engine", *(str(p) for pair in arguments.items() for p in pair)],
            work / "build.log",
            canceled=heart.canceled,
            on_poll=lambda: _pass_on(progress, heart),
        )
        return {"engine": engine, "summary": summary}

    def _link_to(self, task: TaskView, sha256: str, target: Path) -> None:
        """The task's file of that digest, under `target`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        path = self.cache.get(sha256, partial(self.link.fetch, task, sha256))
        target.symlink_to(path.absolute())

    def _patiently(self, send: Callable[[], None]) -> None:
        """Send, and again where the hub is away for a moment."""
        for attempt in range(SEND_ATTEMPTS):
            try:
                return send()
            except HubAway:
                if attempt == SEND_ATTEMPTS - 1:
                    raise
                self.sleep(delay_s(attempt + 1, self.rng))
        return None

    def _give_up(self, task: TaskView, message: str, *, again: bool) -> None:
        """Say so, if it can be said; else the lease ends by itself."""
        with contextlib.suppress(HubAway, HubRefused, TaskGone):
            self.link.fail(task, message, again=again)

    def _say(self, line: str) -> None:
        """Log it unless it was the last that was said."""
        if line != self._said:
            self._said = line
            self.log(line)


def _what(task: TaskView) -> str:
    order = task.order
    if isinstance(order, PlanOrder):
        return f"a plan in {order.precision.value} for a batch of {order.batch}"
    return f"{len(order.images)} images"


def _pass_on(progress: Path, heart: Heart) -> None:
    try:
        last = json.loads(progress.read_text().splitlines()[-1])
        heart.tell(int(last["done"]), int(last["total"]))
    except (OSError, ValueError, LookupError, TypeError):
        return  # not begun yet, or a line half written
