"""Kinds of jobs that wait have a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.jobs import service
from cloud.jobs.context import JobContext
from cloud.jobs.runner import JobRunner
from tests.unit.cloud.conftest import OPERATOR
from tests.unit.cloud.jobs.test_jobs import ended, row


def queue(database: Database, kind: str) -> str:
    with database.transaction() as session:
        return service.request(session, OPERATOR, kind, "model/a", {}).id


def test_a_job_that_waits_holds_up_its_own_kind_alone(database: Database, tmp_path: Path) -> None:
    waits, goes_on = threading.Event(), threading.Event()

    def waiting(context: JobContext) -> Mapping[str, Any]:
        context.log("waiting for a worker")
        waits.set()
        assert goes_on.wait(20)
        return {"apart": True}

    store = BlobStore(tmp_path / "blobs", blob_bytes_max=2**20)
    handlers = {"trial": lambda _: {"apart": False}, "far": waiting}
    runner = JobRunner(database, store, tmp_path / "jobs", handlers, apart=("far",))
    far = queue(database, "far")
    runner.start()
    try:
        assert waits.wait(20)
        near = ended(database, queue(database, "trial"))
        assert near.result == {"apart": False}
        still = row(database, far)
        assert still.state == "RUNNING"
        assert "waiting for a worker" in runner.read_log(still)
        goes_on.set()
        assert ended(database, far).result == {"apart": True}
    finally:
        goes_on.set()
        runner.stop()
