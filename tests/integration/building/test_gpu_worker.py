"""GPU workers, as far as that goes without a GPU: a real worker runs a bundle on the CPU, and
builds for TensorRT and CUDA go their whole way with a simulated engine."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from cloud import settings
from cloud.access import service as access
from cloud.access.principal import PrincipalKind, Role
from cloud.app import application
from cloud.building.remote import RemoteRunner
from cloud.building.worker_cache import FileCache
from cloud.building.worker_link import WorkerLink
from cloud.building.worker_loop import Worker
from cloud.building.worker_schemas import WorkerHello
from cloud.hub import Hub
from cloud.shipped import ShippedRun, ShippedRunner
from tests.fixtures.models import flat_png, write_bundle
from tests.integration.building.simulated_gpu import MACHINE
from tests.integration.cloud_learning.drawn import write_folder
from tests.integration.cloud_learning.hub import LearningHub, learning_hub
from tests.integration.cloud_learning.test_training import PARAMETERS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DEADLINE_S = 120.0
SIMULATED = (sys.executable, "-m", "tests.integration.building.simulated_gpu")


@dataclass
class Served:
    """A hub that answers on loopback, and its administrator's token."""

    hub: Hub
    url: str
    token: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    hub = Hub(settings.load(tmp_path / "hub"))
    with hub.database.transaction() as session:
        token = access.issue(session, PrincipalKind.USER, "gpu", Role.ADMINISTRATOR)[1]
    server = uvicorn.Server(uvicorn.Config(application(hub), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + DEADLINE_S
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Served(hub, f"http://127.0.0.1:{port}", token)
    server.should_exit = True
    thread.join(DEADLINE_S)
    hub.stop()


@contextmanager
def working(served: Served, cache: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running `argosy worker run`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cloud.cli.main", "worker", "run", "--cache", str(cache),
         "--url", served.url, *options],
        stderr=subprocess.PIPE,
        text=True,
        env={"ARGOSY_TOKEN": served.token, "PATH": "", "COLUMNS": "200"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def told(run: ShippedRun) -> list[dict[str, Any]]:
    """What was seen, without what differs from run to run."""
    return [result.model_dump(exclude={"latency_ms"}) for result in run.results]


def test_a_worker_process_runs_a_bundle_as_the_hub_itself_does(
    served: Served, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "bundle")
    images = [tmp_path / f"{grey}.png" for grey in range(0, 250, 10)]
    for grey, image in zip(range(0, 250, 10), images, strict=True):
        image.write_bytes(flat_png(grey, 96))
    local = ShippedRunner().run(tmp_path / "bundle", images, tmp_path / "local", latency_frames=3)
    progress: list[tuple[int, int]] = []
    with working(served, tmp_path / "cache", "--once", "--name", "box-7") as process:
        remote = RemoteRunner(desk=served.hub.desk).run(
            tmp_path / "bundle",
            images,
            tmp_path / "remote",
            latency_frames=3,
            on_progress=lambda done, total: progress.append((done, total)),
        )
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        lines = process.stderr.read()
    assert told(remote) == told(local)
    assert len(remote.results) == 25
    counts = {"frames_captured", "frames_inferred", "classes", "luminance", "sharpness"}
    assert remote.stats.model_dump(include=counts) == local.stats.model_dump(include=counts)
    assert remote.summary["worker"] == "box-7"
    assert remote.summary["machine"] == local.summary["machine"]
    assert remote.summary["latency_ms"]["frames"] == 3
    assert "25 images" in lines
    assert "done in" in lines


def test_a_worker_that_is_stopped_leaves_well_and_alone(served: Served, tmp_path: Path) -> None:
    with working(served, tmp_path / "cache") as process:
        deadline = time.monotonic() + DEADLINE_S
        while not served.hub.desk.view().workers:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        with working(served, tmp_path / "cache") as second:
            assert second.wait(DEADLINE_S) == 1
            assert second.stderr is not None
            assert "another worker uses" in second.stderr.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_a_worker_waits_for_a_hub_that_is_not_there_yet(served: Served, tmp_path: Path) -> None:
    nowhere = Served(served.hub, "http://127.0.0.1:9", served.token)
    with working(nowhere, tmp_path / "cache") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "does not answer" in line:
                break
        assert process.poll() is None
    assert httpx.get(f"{served.url}/healthz").status_code == 200


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearningHub]:
    """A hub with a version 1 of `shapes`, and a worker with a simulated GPU."""
    folder = write_folder(tmp_path_factory.mktemp("many"), train=60, val=8)
    cache = tmp_path_factory.mktemp("cache")
    with learning_hub(tmp_path_factory.mktemp("hub") / "data") as made:
        imported = made.import_folder("shapes", folder, model="shapes")
        assert imported["state"] == "SUCCEEDED", imported["error"]
        order = {"model": "shapes", "dataset": "shapes", "parameters": PARAMETERS}
        job = made.ended(made.post("/training/jobs", order, 202)["id"])
        assert job["state"] == "SUCCEEDED", job["error"]
        lines: list[str] = []
        worker = Worker(
            link=WorkerLink("http://testserver", made.token, made.api._transport),
            cache=FileCache(cache / "files", 2**30),
            folder=cache,
            hello=WorkerHello(name="simulated", capabilities=MACHINE),
            agent=SIMULATED,
            log=lines.append,
        )
        over = threading.Event()
        thread = threading.Thread(target=lambda: _work(worker, over), daemon=True)
        thread.start()
        yield made
        over.set()
        thread.join(DEADLINE_S)


def _work(worker: Worker, over: threading.Event) -> None:
    while not over.is_set():
        if not worker.step():
            over.wait(0.2)


def test_tensorrt_and_cuda_builds_are_evaluated_as_any(hub: LearningHub) -> None:
    path = "/models/shapes/versions/1/builds"
    asked = hub.post(path, {"targets": ["tensorrt-fp16", "onnx-cuda-fp16", "onnx-cuda-fp32"]}, 202)
    assert asked["kind"] == "build-gpu"
    job = hub.done(asked["id"])
    assert job["state"] == "SUCCEEDED", job["error"]
    rows = {row["target"].split("@")[0]: row for row in job["result"]["builds"]}
    assert {row["outcome"] for row in rows.values()} == {"ADMITTED"}, rows

    plan = hub.get(f"/builds/{rows['tensorrt-fp16']['digest']}")
    assert plan["identity"]["compute_capability"] == "8.7"
    assert plan["identity"]["tensorrt_version"] == "10.3.0"
    assert plan["notes"]["worker"] == "simulated"
    assert plan["notes"]["file_precision"] == "fp16"
    assert plan["metrics"]["run"]["worker"] == "simulated"
    assert plan["metrics"]["robustness"]["images"] == 3
    # What it sees is what the file it was made of sees: the half file on CUDA's stand-in.
    half = hub.get(f"/builds/{rows['onnx-cuda-fp16']['digest']}")
    assert plan["metrics"]["map50"] == half["metrics"]["map50"]
    assert half["identity"]["runtime_precision"] == "fp16"


def test_a_mixed_request_is_refused_and_a_plan_cannot_be_brought(hub: LearningHub) -> None:
    path = "/models/shapes/versions/1/builds"
    mixed = hub.post(path, {"targets": ["tensorrt-fp16", "onnx-int8"]}, 422)["error"]
    assert "ask for them apart" in mixed["remedy"]
    body = {"targets": ["tensorrt-fp16"], "files": {"model.engine": "0" * 64}}
    brought = hub.post(path, body, 422)["error"]
    assert "have a GPU worker build it" in brought["remedy"]


def test_a_job_that_waits_for_another_gpu_is_canceled_and_holds_nothing_up(
    hub: LearningHub,
) -> None:
    path = "/models/shapes/versions/1/builds"
    waiting = hub.post(path, {"targets": ["onnx-tensorrt-fp16"], "robustness": False}, 202)
    hub.wait("/worker", lambda view: view["tasks"] and view["workers"][0]["unfit"])
    (task,) = hub.get("/worker")["tasks"]
    assert task["worker"] is None
    other = hub.post(path, {"targets": ["onnx-fp16"], "robustness": False}, 202)
    assert hub.done(other["id"])["state"] == "SUCCEEDED"
    hub.post(f"/jobs/{waiting['id']}/cancel")
    assert hub.done(waiting["id"])["state"] == "CANCELED"
    assert hub.get("/worker")["tasks"] == []
