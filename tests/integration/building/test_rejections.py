"""Builds that were spoiled on purpose are rejected, each for the right reason.

A real detector (the reconstructed YOLO26n) on real photographs: what is asked is whether its
figures, its answers and its ranges tell what is wrong with an artifact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.settings import BuildingSettings
from protocol.bundles import read_manifest
from tests.benchmarks.bench_building import photographs_dataset
from tests.integration.building import spoiling
from tests.integration.cloud_learning.hub import LearningHub, learning_hub

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SIDE_PX = 320
GOLDEN_IMAGES = 60


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[LearningHub]:
    """A hub with the reconstructed weights as version 1, taken as they are."""
    folder = tmp_path_factory.mktemp("rejections")
    weights = shared_data / "weights" / "yolo26n-reconstructed.pt"
    dataset = photographs_dataset(folder / "photographs", GOLDEN_IMAGES)
    quick = BuildingSettings(latency_frames=0, robustness_images_max=0, compare_definitions=False)
    with learning_hub(folder / "hub", building=quick) as made:
        imported = made.import_folder("photographs", dataset, model="photographs")
        assert imported["state"] == "SUCCEEDED", imported["error"]
        order = {
            "model": "photographs", "dataset": "photographs", "weights": str(weights),
            "parameters": {"epochs": 0, "imgsz": SIDE_PX},
        }  # fmt: skip
        job = made.ended(made.post("/training/jobs", order, 202)["id"])
        assert job["state"] == "SUCCEEDED", job["error"]
        yield made


def build(hub: LearningHub, target: str, files: list[Path] | None = None) -> Any:
    body: dict[str, Any] = {"targets": [target], "robustness": False, "again": True}
    if files is not None:
        body["files"] = {path.name: upload(hub, path) for path in files}
    asked = hub.post("/models/photographs/versions/1/builds", body, 202)
    job = hub.done(asked["id"], 600)
    assert job["state"] == "SUCCEEDED", job["error"]
    return job["result"]["builds"][0]


def upload(hub: LearningHub, path: Path) -> str:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert hub.api.put(f"/api/v1/blobs/{digest}", content=data).is_success
    return digest


@pytest.fixture(scope="module")
def spoiled(hub: LearningHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    digest = hub.get("/models/photographs/versions/1")["builds"][0]["digest"]
    first = hub.get(f"/builds/{digest}")
    assert first["state"] == "EVALUATED"
    onnx = read_manifest(hub.store.read(digest), digest).file("model.onnx").sha256
    base = tmp_path_factory.mktemp("base") / "model.onnx"
    base.write_bytes(hub.store.read(onnx))
    return spoiling.spoil(base, tmp_path_factory.mktemp("spoiled"))


@pytest.mark.parametrize("kind", sorted(spoiling.TARGETS))
def test_a_spoiled_build_is_rejected_for_the_right_reason(
    hub: LearningHub, spoiled: dict[str, list[Path]], kind: str
) -> None:
    row = build(hub, spoiling.TARGETS[kind], spoiled[kind])
    assert row["outcome"] == "REJECTED", row
    assert any(spoiling.SAID[kind] in reason for reason in row["reasons"]), row["reasons"]
    kept = hub.get(f"/builds/{row['digest']}")
    assert (kept["state"], kept["verdict"]["admitted"]) == ("REJECTED", False)
    others = [said for other, said in spoiling.SAID.items() if other != kind]
    assert not any(said in reason for reason in row["reasons"] for said in others)


@pytest.mark.parametrize("target", ["openvino-fp32", "onnx-int8"])
def test_the_same_target_made_well_is_admitted(hub: LearningHub, target: str) -> None:
    row = build(hub, target)
    assert row["outcome"] == "ADMITTED", row["reasons"]
