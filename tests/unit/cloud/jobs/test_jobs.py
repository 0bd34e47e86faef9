"""Jobs from the queue to their end: handlers, children, cancel, retry, a hub that stopped."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloud.blobs.store import BlobStore
from cloud.children import ChildLimits
from cloud.database import Database
from cloud.errors import ConflictError, ForbiddenError, InvalidError
from cloud.jobs import service
from cloud.jobs.context import Handler, JobContext
from cloud.jobs.models import Job
from cloud.jobs.runner import JobRunner
from cloud.jobs.states import ENDED, JOB_TABLE, JobEvent, JobState
from tests.unit.cloud.conftest import OPERATOR

DEADLINE_S = 20.0


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Callable[[Handler], JobRunner]]:
    runners: list[JobRunner] = []

    def started(handler: Handler) -> JobRunner:
        store = BlobStore(tmp_path / "blobs", blob_bytes_max=2**20)
        runner = JobRunner(
            database,
            store,
            tmp_path / "jobs",
            {"trial": handler},
            limits=ChildLimits(nice=0, poll_s=0.02, terminate_grace_s=0.2),
        )
        runner.start()
        runners.append(runner)
        return runner

    yield started
    for runner in runners:
        runner.stop()


def queue(database: Database, *, attempts_max: int = 1, **parameters: Any) -> str:
    with database.transaction() as session:
        return service.request(
            session, OPERATOR, "trial", "model/a", parameters, attempts_max=attempts_max
        ).id


def row(database: Database, job_id: str) -> Job:
    with database.reading() as session:
        return service.get(session, OPERATOR, job_id)


def ended(database: Database, job_id: str) -> Job:
    deadline = time.monotonic() + DEADLINE_S
    while JobState((found := row(database, job_id)).state) not in ENDED:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_a_job_keeps_its_result_its_progress_and_its_log(
    database: Database, start: Callable[[Handler], JobRunner], tmp_path: Path
) -> None:
    def handler(context: JobContext) -> Mapping[str, Any]:
        context.progress("counting", 1, 2)
        context.progress("counting", 2, 2)
        return {"sum": context.job.parameters["one"] + 1}

    job_id = queue(database, one=1)
    runner = start(handler)
    job = ended(database, job_id)
    assert (job.state, job.result) == ("SUCCEEDED", {"sum": 2})
    assert job.progress["stage"] == "counting"
    assert job.progress["done"] == job.progress["total"] == 2
    assert "counting" in runner.read_log(job)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_what_the_hub_refuses_is_final_and_says_why(
    database: Database, start: Callable[[Handler], JobRunner]
) -> None:
    def handler(_: JobContext) -> Mapping[str, Any]:
        raise InvalidError("no images", "annotate some")

    job_id = queue(database, attempts_max=3)
    start(handler)
    job = ended(database, job_id)
    assert (job.state, job.attempt, job.error) == ("FAILED", 1, "no images; annotate some")


def test_a_child_that_is_killed_gets_another_attempt_and_then_the_job_fails(
    database: Database, start: Callable[[Handler], JobRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_DELAY_S", 0.0)
    kill = (
        "import os, signal; print('last words', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )

    def handler(context: JobContext) -> Mapping[str, Any]:
        context.child([sys.executable, "-c", kill])
        return {}

    job_id = queue(database, attempts_max=2)
    start(handler)
    job = ended(database, job_id)
    assert (job.state, job.attempt) == ("FAILED", 2)
    assert job.error is not None
    assert "SIGKILL" in job.error
    assert "attempt 2 of 2" in job.error
    assert "last words" in job.log


def test_a_running_job_is_canceled_with_its_child(
    database: Database, start: Callable[[Handler], JobRunner]
) -> None:
    running = threading.Event()

    def handler(context: JobContext) -> Mapping[str, Any]:
        context.child([sys.executable, "-c", "import time; time.sleep(600)"], on_poll=running.set)
        return {}

    job_id = queue(database)
    start(handler)
    assert running.wait(DEADLINE_S)
    with database.transaction() as session:
        service.cancel(session, OPERATOR, job_id)
    assert ended(database, job_id).state == "CANCELED"


def test_a_hub_that_stops_leaves_the_job_to_its_next_start(
    database: Database, start: Callable[[Handler], JobRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RETRY_DELAY_S", 0.0)
    running, again = threading.Event(), threading.Event()

    def handler(context: JobContext) -> Mapping[str, Any]:
        if again.is_set():
            return {"attempt": context.job.attempt}
        context.child([sys.executable, "-c", "import time; time.sleep(600)"], on_poll=running.set)
        return {}

    job_id = queue(database, attempts_max=2)
    first = start(handler)
    assert running.wait(DEADLINE_S)
    first.stop()
    assert row(database, job_id).state == "RUNNING"
    again.set()
    start(handler)
    assert ended(database, job_id).result == {"attempt": 2}


def test_a_failed_job_can_be_asked_for_again(
    database: Database, start: Callable[[Handler], JobRunner]
) -> None:
    answers: list[dict[str, Any] | None] = [None, {"well": True}]

    def handler(_: JobContext) -> Mapping[str, Any]:
        answer = answers.pop(0)
        if answer is None:
            raise InvalidError("not yet")
        return answer

    job_id = queue(database)
    runner = start(handler)
    assert ended(database, job_id).state == "FAILED"
    with database.transaction() as session:
        service.retry(session, OPERATOR, job_id)
    runner.wake()
    assert ended(database, job_id).result == {"well": True}
    with database.transaction() as session, pytest.raises(ConflictError):
        service.retry(session, OPERATOR, job_id)


def test_who_may_ask(database: Database) -> None:
    from cloud.access.principal import Role, service_principal

    viewer = service_principal("looker", Role.VIEWER)
    with database.transaction() as session, pytest.raises(ForbiddenError):
        service.request(session, viewer, "trial", "model/a", {})


def test_every_state_but_the_ended_ones_can_fail_or_be_canceled() -> None:
    for state in set(JobState) - ENDED:
        assert (state, JobEvent.CANCEL_REQUESTED) in JOB_TABLE
