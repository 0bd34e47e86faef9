"""Trainings that end otherwise: canceled, killed, cut off by a stop of the hub."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.cloud_learning.hub import LearningHub, learning_hub

pytestmark = pytest.mark.integration

LONG = {"epochs": 500, "imgsz": 64, "batch": 8, "mosaic": 0.0, "val": False, "plots": False}
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def begin(hub: LearningHub, drawn_folder: Path) -> str:
    """The id of a job on a fresh hub."""
    done = hub.import_folder("shapes", drawn_folder, model="shapes")
    assert done["state"] == "SUCCEEDED", done["error"]
    order = {"model": "shapes", "dataset": "shapes", "parameters": LONG}
    return str(hub.post("/training/jobs", order, 202)["id"])


def children_of(folder: Path) -> list[psutil.Process]:
    """Processes that were started for a job in `folder`."""
    mine = psutil.Process().children(recursive=True)
    return [p for p in mine if any(str(folder) in word for word in p.cmdline())]


def wait_for(what: Any) -> Any:
    deadline = time.monotonic() + 60
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def check_nothing_left(hub: LearningHub) -> None:
    assert children_of(hub.folder) == []
    wait_for(lambda: list((hub.folder / "training").iterdir()) == [])
    assert hub.get("/models/shapes/versions")["items"] == []


def test_cancel_in_mid_training_leaves_nothing(tmp_path: Path, drawn_folder: Path) -> None:
    with learning_hub(tmp_path / "hub") as hub:
        job_id = begin(hub, drawn_folder)
        hub.wait(f"/training/jobs/{job_id}", lambda j: j["progress"].get("losses"))
        assert hub.post(f"/training/jobs/{job_id}/cancel")["state"] == "RUNNING"
        job = hub.ended(job_id)
        assert (job["state"], job["version"], job["error"]) == ("CANCELED", None, None)
        check_nothing_left(hub)
        hub.post(f"/training/jobs/{job_id}/cancel", status=409)


def test_a_killed_child_fails_the_job_with_the_reason(tmp_path: Path, drawn_folder: Path) -> None:
    with learning_hub(tmp_path / "hub", child=SLEEPER) as hub:
        job_id = begin(hub, drawn_folder)
        (child,) = wait_for(lambda: children_of(tmp_path))
        os.kill(child.pid, signal.SIGKILL)
        job = hub.ended(job_id)
        assert job["state"] == "FAILED"
        assert "SIGKILL" in job["error"]
        assert "argosy train log" in job["error"]
        check_nothing_left(hub)


def test_a_stop_of_the_hub_ends_the_child_and_the_next_start_fails_the_job(
    tmp_path: Path, drawn_folder: Path
) -> None:
    with learning_hub(tmp_path / "hub", child=SLEEPER) as hub:
        job_id = begin(hub, drawn_folder)
        waiting = hub.post(
            "/training/jobs", {"model": "shapes", "dataset": "shapes", "parameters": LONG}, 202
        )["id"]
        wait_for(lambda: children_of(tmp_path))
    assert children_of(tmp_path) == []
    with learning_hub(tmp_path / "hub", child=SLEEPER) as hub:
        job = hub.get(f"/training/jobs/{job_id}")
        assert job["state"] == "FAILED"
        assert "start it again" in job["error"]
        hub.wait(f"/training/jobs/{waiting}", lambda j: j["state"] == "RUNNING")


def test_a_child_that_fails_tells_its_last_words(tmp_path: Path, drawn_folder: Path) -> None:
    child = (sys.executable, "-c", "import sys; print('out of ideas'); sys.exit(3)")
    with learning_hub(tmp_path / "hub", child=child) as hub:
        job_id = begin(hub, drawn_folder)
        job = hub.ended(job_id)
        assert job["state"] == "FAILED"
        assert "status 3" in job["error"]
        assert "out of ideas" in job["error"]
        log = hub.api.get(f"/api/v1/training/jobs/{job_id}/log")
        assert log.text == "out of ideas\n"
