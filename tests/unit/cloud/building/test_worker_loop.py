"""A worker and a hub over HTTP: bundles are run and plans built by stand-ins for the agent."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from cloud.access.principal import Role
from cloud.building import worker_desk
from cloud.building.remote import ByRuntime, RemoteRunner
from cloud.building.worker_cache import FileCache
from cloud.building.worker_desk import Desk
from cloud.building.worker_link import HubAway, HubRefused, TaskGone, WorkerLink
from cloud.building.worker_loop import DELAY_MAX_S, Worker, delay_s
from cloud.building.worker_schemas import Claim, RunOrder, TaskImage, TaskView, WorkerHello
from cloud.children import ChildCanceled, ChildFailed
from cloud.shipped import ShippedRun, ShippedRunner
from protocol.builds import Capabilities
from tests.fixtures.models import flat_png, write_bundle
from tests.fixtures.shipped import program
from tests.unit.cloud.building.desks import DEADLINE_S, hello, machine
from tests.unit.cloud.conftest import Api

L = TypeVar("L", bound=WorkerLink)

ANSWER = (
    '{"width": 64, "height": 64, "detections": [{"class_id": number, "confidence": 0.5, '
    '"box": [1, 2, 3, 4]}], "luminance": 7.0, "sharpness": 2.0}'
)
SEES = program(ANSWER)
FAILS = "import sys; print('the driver is too old', flush=True); sys.exit(1)"
HANGS = "import time; time.sleep(600)"


def agent(text: str) -> tuple[str, ...]:
    """The program as `argosy-agent`: its first argument names the command."""
    return (sys.executable, "-c", f"import sys; del sys.argv[1]\n{text}")


class Counting(WorkerLink):
    """Keeps what was fetched."""

    fetched: list[str]

    def fetch(self, task: TaskView, sha256: str, target: Path) -> None:
        self.fetched.append(sha256)
        super().fetch(task, sha256, target)


class Spoiling(WorkerLink):
    """Fetches other bytes."""

    def fetch(self, task: TaskView, sha256: str, target: Path) -> None:
        super().fetch(task, sha256, target)
        target.write_bytes(target.read_bytes() + b"more")


class Away(WorkerLink):
    """Finds no hub at first."""

    left = 6

    def claim(self, hello: WorkerHello) -> Claim:
        if self.left:
            self.left -= 1
            raise HubAway("down")
        return super().claim(hello)


@dataclass
class Shop:
    """A hub's desk, a bundle for CUDA with images, and a worker that may be started."""

    api: Api
    folder: Path
    bundle: Path
    images: list[Path]
    lines: list[str] = field(default_factory=list)
    canceled: bool = False
    _runs: int = 0

    @property
    def desk(self) -> Desk:
        return self.api.hub.desk

    def worker(
        self,
        text: str = SEES,
        *,
        link: WorkerLink | None = None,
        capabilities: Capabilities | None = None,
    ) -> Worker:
        return Worker(
            link=link or self.link(),
            cache=FileCache(self.folder / "cache" / "files", 2**20),
            folder=self.folder / "cache",
            hello=hello(capabilities=capabilities or machine()),
            agent=agent(text),
            log=self.lines.append,
            sleep=lambda s: time.sleep(min(s, 0.02)),
        )

    def link(self, kind: type[L] = WorkerLink) -> L:  # type: ignore[assignment]
        token = self.api.token(Role.ADMINISTRATOR, "gpu")
        return kind("http://testserver", token, self.api.http._transport)

    def run(self, runner: type[RemoteRunner] = RemoteRunner) -> ShippedRun:
        self._runs += 1
        remote = runner(canceled=lambda: self.canceled, desk=self.desk)
        return remote.run(
            self.bundle, self.images, self.folder / f"run-{self._runs}", latency_frames=3
        )

    def with_worker(self, worker: Worker) -> ShippedRun:
        """What a run comes to that this worker does."""
        thread = threading.Thread(target=lambda: worker.run(once=True), daemon=True)
        thread.start()
        try:
            return self.run()
        finally:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


@pytest.fixture
def shop(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(worker_desk, "POLL_S", 0.02)
    bundle = tmp_path / "bundle"
    write_bundle(bundle, runtime="onnxruntime-cuda")
    images = [tmp_path / f"{name}.png" for name in "cab"]
    for number, image in enumerate(images):
        image.write_bytes(flat_png(40 * number, 64))
    yield Shop(api, tmp_path, bundle, images)


def test_a_remote_run_is_what_a_local_one_is(shop: Shop) -> None:
    remote = shop.with_worker(shop.worker())
    command = (*agent(SEES), "evaluate")
    local = ShippedRunner(command).run(shop.bundle, shop.images, shop.folder / "local")
    assert remote.results == local.results
    assert remote.stats == local.stats
    assert remote.summary == {**local.summary, "worker": "gpu-1"}
    assert list((shop.folder / "cache" / "work").iterdir()) == []


def test_files_are_fetched_once(shop: Shop) -> None:
    link = shop.link(Counting)
    fetched: list[str] = []
    link.fetched = fetched
    first = shop.with_worker(shop.worker(link=link))
    count = len(fetched)
    assert count == len(set(fetched)) >= 6
    assert shop.with_worker(shop.worker(link=link)).results == first.results
    assert len(fetched) == count
    spoiled = next((shop.folder / "cache" / "files").iterdir())
    spoiled.write_bytes(b"spoiled")
    assert shop.with_worker(shop.worker(link=link)).results == first.results
    assert fetched[count:] == [spoiled.name]


def test_an_agent_that_fails_fails_the_run_with_its_words(shop: Shop) -> None:
    with pytest.raises(ChildFailed, match=r"worker gpu-1: .*the driver is too old"):
        shop.with_worker(shop.worker(FAILS))


def test_other_bytes_than_named_are_not_run_and_the_task_is_handed_back(shop: Shop) -> None:
    link = shop.link(Spoiling)
    thread = threading.Thread(target=lambda: shop.worker(link=link).run(once=True), daemon=True)
    thread.start()
    runs: list[ShippedRun] = []
    runner = threading.Thread(target=lambda: runs.append(shop.run()), daemon=True)
    runner.start()
    thread.join(DEADLINE_S)
    assert any("handed back" in line for line in shop.lines)
    shop.worker().run(once=True)
    runner.join(DEADLINE_S)
    assert len(runs[0].results) == 3


def test_a_canceled_job_ends_the_workers_child(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.desk, "patience", worker_desk.Patience(lease_s=0.6))
    canceler = threading.Timer(1.5, lambda: setattr(shop, "canceled", True))
    canceler.start()
    with pytest.raises(ChildCanceled):
        shop.with_worker(shop.worker(HANGS))
    assert shop.lines[-1].endswith("no longer wanted")


def test_stopped_in_the_middle_the_task_is_handed_back(shop: Shop) -> None:
    worker = shop.worker(HANGS)

    def interrupt(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    runs: list[ShippedRun] = []
    runner = threading.Thread(target=lambda: runs.append(shop.run()), daemon=True)
    runner.start()
    worker.on_progress = interrupt
    worker.agent = agent(SEES + "\nimport time; time.sleep(600)")
    with pytest.raises(KeyboardInterrupt):
        worker.run()
    shop.worker().run(once=True)
    runner.join(DEADLINE_S)
    assert len(runs[0].results) == 3


def test_a_hub_that_is_away_is_asked_again_later_and_later(shop: Shop) -> None:
    slept: list[float] = []
    link = shop.link(Away)
    worker = shop.worker(link=link)
    worker.sleep = slept.append
    worker.rng = random.Random(3)
    assert len(shop.with_worker(worker).results) == 3
    assert shop.lines.count("down") == 1
    assert all(0 <= s <= 2.0**n for n, s in enumerate(slept[:6], 1))


def test_a_token_below_administrator_is_said_and_tried_again(shop: Shop) -> None:
    token = shop.api.token(Role.OPERATOR, "op")
    link = WorkerLink("http://testserver", token, shop.api.http._transport)
    with pytest.raises(HubAway, match="this needs administrator"):
        link.claim(hello())


def test_what_does_not_fit_is_left_and_said_once(shop: Shop) -> None:
    def wait() -> None:
        with pytest.raises(ChildCanceled):
            shop.run()

    runner = threading.Thread(target=wait, daemon=True)
    runner.start()
    other = machine(machine().runtimes[1])
    worker = shop.worker(capabilities=other)
    deadline = time.monotonic() + DEADLINE_S
    while not any("not for this machine" in line for line in shop.lines):
        assert time.monotonic() < deadline
        assert not worker.step()
    assert not worker.step()
    assert sum("needs the runtime onnxruntime-cuda" in line for line in shop.lines) == 1
    shop.canceled = True
    runner.join(DEADLINE_S)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(307, HubAway), (401, HubAway), (404, TaskGone), (409, TaskGone), (413, HubRefused),
     (422, HubRefused), (429, HubAway), (500, HubAway), (503, HubAway)],
)  # fmt: skip
def test_what_the_hub_answers_means_later_another_or_no(
    tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text="no json"))
    link = WorkerLink("http://hub", "token", transport)
    run = RunOrder(bundle={"a": "0" * 64}, images=(TaskImage(sha256="0" * 64, suffix=""),), floor=0)
    task = TaskView(id="0" * 32, lease="1", lease_s=1, order=run)
    (tmp_path / "out").write_bytes(b"x")
    calls: tuple[Callable[[], None], ...] = (
        lambda: link.progress(task, 0, 1),
        lambda: link.fetch(task, "0" * 64, tmp_path / "file"),
        lambda: link.bring(task, "summary", tmp_path / "out"),
        lambda: link.finish(task),
    )
    for call in calls:
        with pytest.raises(kind, match=f"answered {status}"):
            call()


@pytest.mark.parametrize("failures", [0, 1, 5, 50])
def test_delays_are_full_jitter_below_a_bound(failures: int) -> None:
    rng = random.Random(failures)
    found = [delay_s(failures, rng) for _ in range(400)]
    bound = min(DELAY_MAX_S, 2.0**failures)
    assert 0 <= min(found) < bound * 0.1
    assert bound * 0.9 < max(found) <= bound


def test_the_hub_runs_by_itself_what_it_can(shop: Shop) -> None:
    write_bundle(shop.folder / "cpu", runtime="onnxruntime")
    runner = ByRuntime((*agent(SEES), "evaluate"), desk=None)
    run = runner.run(shop.folder / "cpu", shop.images, shop.folder / "here")
    assert len(run.results) == 3
    assert "worker" not in run.summary


def test_a_worker_needs_nothing_that_a_device_has_not() -> None:
    hubs = {"fastapi", "sqlmodel", "sqlalchemy", "alembic", "torch", "uvicorn", "onnx"}
    text = (
        "import sys, cloud.cli.main, cloud.building.worker_loop\n"
        f"print(sorted({hubs!r} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_cache_lets_the_oldest_go_but_not_what_is_needed(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 10)
    for at_s, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (at_s, at_s))
    cache.trim({"a"})
    assert {path.name for path in tmp_path.iterdir()} == {"a", "d"}
