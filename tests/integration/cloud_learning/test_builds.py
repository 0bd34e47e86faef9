"""One version through everything: a matrix of builds, verdicts, a gate, promotion, what is kept.

The network is untrained and small; what is tested is the way that a build goes, by the real
children: Ultralytics' export, ONNX Runtime's and NNCF's quantisation, the agent's evaluation.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cloud.access.principal import Role, service_principal
from cloud.registry import service as registry
from protocol.bundles import DRIFT_PATH, DriftReference, read_manifest
from tests.integration.cloud_learning.drawn import write_folder
from tests.integration.cloud_learning.hub import LearningHub, learning_hub
from tests.integration.cloud_learning.test_training import PARAMETERS

pytestmark = pytest.mark.integration

APPROVER = service_principal("tester", Role.APPROVER)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearningHub]:
    """A hub with a version 1 of `shapes`, trained for an epoch."""
    folder = write_folder(tmp_path_factory.mktemp("many"), train=60, val=8)
    with learning_hub(tmp_path_factory.mktemp("hub") / "data") as made:
        imported = made.import_folder("shapes", folder, model="shapes")
        assert imported["state"] == "SUCCEEDED", imported["error"]
        order = {"model": "shapes", "dataset": "shapes", "parameters": PARAMETERS}
        job = made.ended(made.post("/training/jobs", order, 202)["id"])
        assert job["state"] == "SUCCEEDED", job["error"]
        yield made


def build(hub: LearningHub, **body: Any) -> Any:
    asked = hub.post("/models/shapes/versions/1/builds", body, 202)
    job = hub.done(asked["id"])
    assert job["state"] == "SUCCEEDED", job["error"]
    return job["result"]["builds"]


def test_a_matrix_is_made_evaluated_and_registered_each_as_it_ships(hub: LearningHub) -> None:
    rows = build(hub, targets=["onnx-fp16", "onnx-int8", "openvino-fp32", "openvino-int8"])
    assert [row["outcome"] for row in rows] == ["ADMITTED"] * 4, rows
    listed = {b["target"]: b for b in hub.get("/models/shapes/versions/1")["builds"]}
    assert set(listed) == {
        f"{name}-64x64"
        for name in ("onnx-fp32", "onnx-fp16", "onnx-int8", "openvino-fp32", "openvino-int8")
    }
    int8 = listed["onnx-int8-64x64"]
    assert int8["size_bytes"] < listed["onnx-fp32-64x64"]["size_bytes"]
    assert int8["metrics"]["robustness"]["images"] == 3
    assert int8["metrics"]["latency_ms_median"] > 0
    assert int8["identity"]["cpu_flags_any"]
    kinds = [e["kind"] for e in hub.get(f"/builds/{int8['digest']}/evaluations")]
    assert sorted(kinds) == ["golden", "robustness"]
    manifest = read_manifest(hub.store.read(int8["digest"]), int8["digest"])
    drift = DriftReference.model_validate_json(hub.store.read(manifest.file(DRIFT_PATH).sha256))
    assert drift.stats.frames_inferred == drift.images

    again = build(hub, targets=["onnx-int8"])
    assert [row["outcome"] for row in again] == ["THERE"]


def test_another_input_size_brings_its_own_base(hub: LearningHub) -> None:
    (row,) = build(hub, targets=["openvino-fp32@96"], robustness=False)
    assert row["outcome"] == "ADMITTED", row
    targets = {b["target"] for b in hub.get("/models/shapes/versions/1")["builds"]}
    assert {"onnx-fp32-96x96", "openvino-fp32-96x96"} <= targets


def test_a_job_that_is_killed_in_the_middle_registers_nothing_half(hub: LearningHub) -> None:
    before = hub.get("/models/shapes/versions/1")["builds"]
    body = {"targets": ["onnx-fp16@128"], "robustness": False}
    asked = hub.post("/models/shapes/versions/1/builds", body, 202)
    killed: set[int] = set()
    for _ in range(2):
        kill_child(hub, "cloud.building.child", killed)
    job = hub.done(asked["id"])
    assert job["state"] == "FAILED"
    assert "SIGKILL" in job["error"]
    assert hub.get("/models/shapes/versions/1")["builds"] == before
    assert list((hub.folder / "jobs").iterdir()) == []


def kill_child(hub: LearningHub, module: str, killed: set[int]) -> None:
    """End the next process of the module by SIGKILL, one that was not killed before."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in psutil.Process().children(recursive=True):
            try:
                if process.pid in killed:
                    continue
                if module in process.cmdline() and str(hub.folder) in " ".join(process.cmdline()):
                    # Its end is the hub's to take: waiting for it here would take it away.
                    os.kill(process.pid, signal.SIGKILL)
                    killed.add(process.pid)
                    return
            except psutil.Error:
                continue
        time.sleep(0.02)
    pytest.fail(f"no child {module} was started")


def test_what_cannot_be_built_says_why(hub: LearningHub) -> None:
    path = "/models/shapes/versions/1/builds"
    wrong = hub.post(path, {"targets": ["onnx-int4"]}, 422)["error"]
    assert "onnx-int4" in wrong["message"]
    assert "onnx-int8" in wrong["remedy"]
    hub.post(path, {"targets": ["onnx-fp32@65"]}, 422)
    hub.post("/models/shapes/versions/9/builds", {"targets": ["onnx-int8"]}, 404)


def test_an_import_of_its_own_export_becomes_a_version_that_sees_the_same(
    hub: LearningHub, tmp_path: Path
) -> None:
    first = hub.get("/models/shapes/versions/1")["builds"][0]
    manifest = read_manifest(hub.store.read(first["digest"]), first["digest"])
    file = tmp_path / "outside.onnx"
    file.write_bytes(hub.store.read(manifest.file("model.onnx").sha256))
    asked = hub.post("/models/shapes/import", {"file": str(file), "dataset": "shapes"}, 202)
    job = hub.done(asked["id"])
    assert job["state"] == "SUCCEEDED", job["error"]
    if job["result"]["outcome"] == "REJECTED":  # so short a training may see nothing at all
        assert "it finds none of the" in job["result"]["reasons"][0]
        with hub.database.transaction() as session:
            digest = job["result"]["build"]
            registry.reinstate_build(session, APPROVER, digest, "nor does the original see any")
    version = hub.get(f"/models/shapes/versions/{job['result']['number']}")
    assert (version["source"], version["weights_format"]) == ("import", "onnx")
    assert version["metrics"]["map50"] == first["metrics"]["map50"]
    assert version["lineage"]["imported"]["origin"] == "outside.onnx"


def test_the_gate_compares_two_versions_and_keeps_its_evidence(hub: LearningHub) -> None:
    versions = hub.get("/models/shapes/versions")["items"]
    newest = versions[-1]["number"]
    assert newest > 1, "the import made one"
    reason = {"number": 1, "alias": "production", "force": True, "reason": "the first of all"}
    hub.post("/models/shapes/promote", reason)
    # What else this machine does meanwhile is not what is tested.
    hub.put("/models/shapes/policy", {"set": {"latency_ratio_max": 1000}})
    asked = hub.post(f"/models/shapes/versions/{newest}/gate", {}, 202)
    job = hub.done(asked["id"])
    assert job["state"] == "SUCCEEDED", job["error"]
    # Eight images are too few to say anything, and the very same file is no worse.
    assert job["result"]["verdict"] == "INCONCLUSIVE", job["result"]
    record = hub.get(f"/evidence/{job['result']['evidence']}")
    assert record["incumbent"] == 1
    page = hub.api.get(f"/api/v1/evidence/{job['result']['evidence']}/page")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    refused = hub.post("/models/shapes/promote", {"number": newest, "alias": "production"}, 409)
    assert "INCONCLUSIVE" in refused["error"]["message"]
