"""From a folder to a registered build, by real training, export and evaluation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from cloud.registry.models import Build
from edge_agent.config import Limits
from edge_agent.update.prove import run_proof
from protocol.bundles import MANIFEST_PATH, Manifest, read_manifest
from protocol.chunks import verify_blob
from tests.integration.cloud_learning.drawn import CLASS_NAMES
from tests.integration.cloud_learning.hub import learning_hub

pytestmark = pytest.mark.integration

PARAMETERS = {
    "epochs": 1, "imgsz": 64, "batch": 8, "mosaic": 0.0, "val": False, "warmup_epochs": 0.0,
    "plots": False,
}  # fmt: skip


def test_a_folder_becomes_an_evaluated_build_and_a_second_version_starts_from_it(
    tmp_path: Path, drawn_folder: Path
) -> None:
    registered: list[tuple[str, Manifest]] = []

    def hook(_session: Session, build: Build, manifest: Manifest) -> None:
        registered.append((build.digest, manifest))

    with learning_hub(tmp_path / "hub", hooks=(hook,)) as hub:
        done = hub.import_folder("shapes", drawn_folder, model="shapes")
        assert (done["state"], done["version"], done["error"]) == ("SUCCEEDED", 1, None)
        order = {"model": "shapes", "dataset": "shapes", "parameters": PARAMETERS}
        job = hub.ended(hub.post("/training/jobs", order, 202)["id"])
        assert job["state"] == "SUCCEEDED", job["error"]
        assert job["version"] == {"model": "shapes", "number": 1}
        assert job["progress"]["epoch"] == job["progress"]["epochs"] == 1
        assert job["progress"]["losses"]
        assert job["started_at"] <= job["training_ended_at"] <= job["ended_at"]

        version = hub.get("/models/shapes/versions/1")
        check_version(version, registered)
        check_blobs(hub.store.read, version["builds"][0]["digest"], tmp_path / "bundle")
        weights = hub.api.get("/api/v1/versions/shapes/1/weights")
        assert len(weights.content) == version["weights_bytes"]
        assert "epochs" in hub.api.get(f"/api/v1/training/jobs/{job['id']}/log").text

        again = hub.post("/training/jobs", {**order, "weights": "parent"}, 202)
        assert hub.ended(again["id"])["version"] == {"model": "shapes", "number": 2}
        assert hub.get("/models/shapes/versions/2")["parent"] == 1
    assert list((tmp_path / "hub" / "training").iterdir()) == []


def check_version(version: dict[str, Any], registered: list[tuple[str, Manifest]]) -> None:
    (build,) = version["builds"]
    assert build["digest"] == registered[0][0]
    assert (version["state"], build["state"]) == ("EVALUATED", "EVALUATED")
    assert build["identity"]["input_width"] == 64
    assert version["dataset_version"]["number"] == 1
    assert version["lineage"]["weights"] == "scratch"
    metrics = version["metrics"]
    assert metrics["images"] == 10
    assert 0 <= metrics["map50_95"] <= metrics["map50"] <= 1
    assert set(metrics["per_class"]) <= set(CLASS_NAMES)
    assert metrics["latency_ms_median"] > 0
    parity = metrics["parity"]
    assert parity["frames"] == 4
    assert parity["confidence_error_max"] < 1e-3, "the build answers as PyTorch does"
    assert build["verdict"]["admitted"], build["verdict"]["reasons"]
    assert build["notes"]["fit"]["images"] > 0
    assert version["lineage"]["environment"]["python"]


def check_blobs(read: Callable[[str], bytes], digest: str, folder: Path) -> None:
    """The blobs make the bundle, and a device would prove it."""
    manifest = read_manifest(read(digest), digest)
    assert manifest.class_names == CLASS_NAMES
    (folder / "golden").mkdir(parents=True)
    (folder / MANIFEST_PATH).write_bytes(read(digest))
    for file in manifest.files:
        data = verify_blob(file.blob.sha256, read(file.blob.sha256))
        (folder / file.path).write_bytes(data)
    proof = run_proof(folder, digest, None, Limits(), threading.Event())
    assert proof.passed, proof.reason
    assert proof.figures["golden_frames"] == 4
