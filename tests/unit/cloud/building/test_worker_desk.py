"""The desk: who gets a task, for how long, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.building import worker_desk
from cloud.building.worker_desk import Desk, Patience, Status
from cloud.building.worker_fit import fit
from cloud.building.worker_schemas import OUTPUTS, OutputName, TaskProgress, TaskView
from cloud.children import ChildCanceled, ChildFailed
from cloud.errors import ConflictError, InvalidError, NotFoundError
from protocol.builds import RuntimeCapability
from tests.unit.cloud.building.desks import (
    CUDA,
    TENSORRT,
    Clock,
    Waiter,
    hello,
    machine,
    plan_task,
    run_task,
)

PATIENCE = Patience(wait_s=100, run_s=50, lease_s=10, takes_max=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_desk, "POLL_S", 0.01)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Iterator[Desk]:
    made = Desk(PATIENCE, clock)
    yield made
    while made.view().tasks:  # threads that still wait end of old age
        clock.now_s += 1e6
        threading.Event().wait(0.02)


def claimed(desk: Desk, name: str = "gpu-1") -> TaskView:
    task, unfit = desk.claim(hello(name))
    assert task is not None, unfit
    return task


def bring(desk: Desk, task: TaskView, name: OutputName, data: bytes = b"{}") -> None:
    partial, _ = desk.place(task.id, task.lease, name)
    partial.write_bytes(data)
    desk.keep(task.id, task.lease, name, partial)


def bring_all(desk: Desk, task: TaskView) -> None:
    for name in OUTPUTS[task.order.kind]:
        bring(desk, task, name)


def test_a_task_goes_to_one_worker_and_its_result_to_who_waits(desk: Desk, tmp_path: Path) -> None:
    waiter = Waiter(desk, run_task(tmp_path / "a"))
    task = claimed(desk)
    assert desk.claim(hello("gpu-2")) == (None, ())
    desk.renew(task.id, task.lease, TaskProgress(done=1, total=2))
    (seen,) = desk.view().tasks
    assert (seen.worker, seen.done, seen.total) == ("gpu-1", 1, 2)
    bring_all(desk, task)
    desk.finish(task.id, task.lease)
    waiter.join()
    assert waiter.done is not None
    assert waiter.done.worker.name == "gpu-1"
    assert waiter.done.outputs["summary"].read_bytes() == b"{}"
    assert desk.view().tasks == ()


def test_the_oldest_that_fits_is_given(desk: Desk, tmp_path: Path) -> None:
    first = Waiter(desk, plan_task(tmp_path / "plan"))
    second = Waiter(desk, run_task(tmp_path / "run"))
    only_cuda = hello("cuda", machine(CUDA))
    task, unfit = desk.claim(only_cuda)
    assert (task is not None and task.order.kind) == "run"
    assert unfit == ()
    none, unfit = desk.claim(only_cuda)
    assert none is None
    assert "needs the runtime tensorrt" in unfit[0]
    assert claimed(desk).order.kind == "plan"
    for waiter in (first, second):
        assert waiter.error is None


@pytest.mark.parametrize(
    ("capability", "tensorrt", "runtimes", "said"),
    [
        (None, "10.3.0", (TENSORRT,), "GPU and TensorRT are known"),
        ("8.7", None, (TENSORRT,), "GPU and TensorRT are known"),
        ("8.7", "10.3.0", (CUDA,), "needs the runtime tensorrt"),
    ],
)
def test_a_plan_needs_a_known_machine(
    tmp_path: Path,
    capability: str | None,
    tensorrt: str | None,
    runtimes: tuple[RuntimeCapability, ...],
    said: str,
) -> None:
    found = fit(plan_task(tmp_path), machine(*runtimes, capability=capability, tensorrt=tensorrt))
    assert not found.fits
    assert said in found.reasons[0]
    assert fit(plan_task(tmp_path), machine()).fits


def test_a_plan_runs_only_on_the_machine_that_it_is_for(tmp_path: Path) -> None:
    ordered = run_task(
        tmp_path, runtime="tensorrt", compute_capability="8.7", tensorrt_version="10.3.0"
    )
    assert fit(ordered, machine()).fits
    other = fit(ordered, machine(capability="8.9"))
    assert "compute capability 8.7" in other.reasons[0]


def test_a_silent_worker_loses_its_task_to_another(
    desk: Desk, clock: Clock, tmp_path: Path
) -> None:
    waiter = Waiter(desk, run_task(tmp_path / "a"))
    lost = claimed(desk)
    bring_all(desk, lost)
    clock.now_s += PATIENCE.lease_s / 2
    desk.renew(lost.id, lost.lease)
    clock.now_s += PATIENCE.lease_s - 1
    desk.renew(lost.id, lost.lease)
    clock.now_s += PATIENCE.lease_s
    task = claimed(desk, "gpu-2")
    assert task.id == lost.id
    for late in (
        lambda: desk.renew(lost.id, lost.lease),
        lambda: desk.finish(lost.id, lost.lease),
        lambda: desk.place(lost.id, lost.lease, "summary"),
        lambda: desk.fail(lost.id, lost.lease, "late", again=False),
    ):
        with pytest.raises(ConflictError):
            late()
    # What the first brought is not the second's.
    with pytest.raises(InvalidError, match="there is no"):
        desk.finish(task.id, task.lease)
    bring_all(desk, task)
    desk.finish(task.id, task.lease)
    waiter.join()
    assert waiter.done is not None
    assert waiter.done.worker.name == "gpu-2"


def test_one_result_is_taken(desk: Desk, tmp_path: Path) -> None:
    waiter = Waiter(desk, run_task(tmp_path / "a"))
    task = claimed(desk)
    bring_all(desk, task)
    desk.finish(task.id, task.lease)
    with pytest.raises((ConflictError, NotFoundError)):
        desk.finish(task.id, task.lease)
    waiter.join()
    with pytest.raises(NotFoundError):
        desk.fail(task.id, task.lease, "after all", again=False)


def test_workers_that_all_fall_silent_end_it(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    waiter = Waiter(desk, run_task(tmp_path / "a"))
    for name in ("gpu-1", "gpu-2"):
        claimed(desk, name)
        clock.now_s += PATIENCE.lease_s
    waiter.join()
    assert isinstance(waiter.error, ChildFailed)
    assert "gpu-2 was silent for 10 s; it was taken 2 times" in str(waiter.error)


def test_a_worker_that_never_ends_is_stopped(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    waiter = Waiter(desk, run_task(tmp_path / "a"))
    task = claimed(desk)
    for _ in range(6):
        clock.now_s += PATIENCE.lease_s - 1
        try:
            desk.renew(task.id, task.lease)
        except (ConflictError, NotFoundError):
            break
    waiter.join()
    assert isinstance(waiter.error, ChildFailed)
    assert "not done after 50 s" in str(waiter.error)


def test_a_failure_ends_it_and_a_task_handed_back_does_not(desk: Desk, tmp_path: Path) -> None:
    waiter = Waiter(desk, plan_task(tmp_path / "a"))
    task = claimed(desk)
    desk.fail(task.id, task.lease, "the disk is full", again=True)
    task = claimed(desk, "gpu-2")
    desk.fail(task.id, task.lease, "TensorRT does not read the model", again=False)
    waiter.join()
    assert isinstance(waiter.error, ChildFailed)
    assert str(waiter.error) == "worker gpu-2: TensorRT does not read the model"


def test_nobody_took_it_says_who_was_there(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    waiter = Waiter(desk, plan_task(tmp_path / "a"))
    desk.claim(hello("old", machine(CUDA)))
    clock.now_s += PATIENCE.wait_s + 1
    waiter.join()
    assert isinstance(waiter.error, InvalidError)
    assert "no GPU worker took tensorrt-fp16-64x64 within 100 s (old" in waiter.error.message
    assert "argosy worker run" in waiter.error.remedy


def test_a_canceled_job_takes_its_task_along(desk: Desk, tmp_path: Path) -> None:
    ends: list[bool] = []
    waiter = Waiter(desk, run_task(tmp_path / "a"), canceled=lambda: bool(ends))
    task = claimed(desk)
    ends.append(True)
    waiter.join()
    assert isinstance(waiter.error, ChildCanceled)
    with pytest.raises(NotFoundError):
        desk.renew(task.id, task.lease)


def test_only_files_of_the_order_are_given_and_only_its_outputs_taken(
    desk: Desk, tmp_path: Path
) -> None:
    ordered = run_task(tmp_path / "a")
    Waiter(desk, ordered)
    task = claimed(desk)
    digest, path = next(iter(ordered.files.items()))
    assert desk.file(task.id, task.lease, digest) == path
    with pytest.raises(NotFoundError):
        desk.file(task.id, task.lease, "0" * 64)
    with pytest.raises(InvalidError, match="a run has no engine"):
        desk.place(task.id, task.lease, "engine")
    _, bytes_max = desk.place(task.id, task.lease, "predictions")
    assert bytes_max < 2 * 1024**2


def test_workers_are_listed_and_bounded(
    desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_desk, "WORKERS_MAX", 2)
    for name in ("a", "b", "a", "c"):
        desk.claim(hello(name))
        clock.now_s += 1
    found = desk.view().workers
    assert [(w.name, w.silent_s) for w in found] == [("a", 2.0), ("c", 1.0)]
    assert found[0].runtimes == ("onnxruntime-cuda 1.30", "tensorrt 10.3.0")


def test_it_is_said_that_nobody_is_there_and_how_long_it_waits(
    clock: Clock, tmp_path: Path
) -> None:
    desk = Desk(Patience(wait_s=3 * 3600), clock)
    words = "no GPU worker has been heard of; it waits up to 3 h: argosy worker run"
    assert desk.unheard().startswith(words)
    told: list[str] = []

    def tell(status: Status) -> None:
        told.append(status.lack)

    def look() -> None:
        looks = iter((False, True))
        with pytest.raises(ChildCanceled):
            desk.get_done(plan_task(tmp_path), canceled=lambda: next(looks), tell=tell)

    look()
    desk.claim(hello("old", machine(CUDA)))
    look()
    assert desk.unheard() == ""
    clock.now_s += 200
    desk.claim(hello("new"))
    look()
    clock.now_s += 301
    look()
    assert [line.partition(";")[0] for line in told] == [
        "no GPU worker has been heard of",
        "no GPU worker that is there can do tensorrt-fp16-64x64",
        "",
        "no GPU worker has been heard of",
    ]
