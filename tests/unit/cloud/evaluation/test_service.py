"""A build's metrics: from the agent's own answers to scores by class and by camera."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cloud.blobs.store import BlobStore
from cloud.datasets import manifest as manifests
from cloud.datasets.boxes import LabelBox
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.splits import Split
from cloud.evaluation.service import evaluate
from cloud.shipped import ShippedRunner

BOX = LabelBox(1, 0.5, 0.5, 0.5, 0.5)
PIXELS = [50, 25, 150, 75]

# Sees the object of an image by what is written in the image's file.
AGENT = """
import json, pathlib, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(given["--out"], "w") as out:
    for n, image in enumerate(pathlib.Path(given["--images"]).read_text().split()):
        seen = json.loads(pathlib.Path(image).read_text())
        row = {"image": image, "width": 200, "height": 100, "latency_ms": 1.0 + n}
        print(json.dumps({**row, "detections": seen}), file=out)
"""


def golden(store: BlobStore, camera: str, *detections: object) -> Item:
    """A golden image of `camera` in which the stand-in sees `detections`."""
    ref = store.put([json.dumps(detections).encode(), b" " * len(camera)])
    return Item.model_validate(
        {
            "image": ref.sha256, "size_bytes": ref.size_bytes, "width": 200, "height": 100,
            "suffix": ".jpg", "split": Split.GOLDEN, "boxes": (BOX,),
            "difference_hash": "00" * 32, "source": "import:x", "camera": camera,
        }
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", blob_bytes_max=10_000)


def dataset(store: BlobStore) -> DatasetManifest:
    seen = {"class_id": 1, "confidence": 0.8, "box": PIXELS}
    faint = {"class_id": 1, "confidence": 0.01, "box": [0, 0, 9, 9]}
    items = [golden(store, "north", seen, faint), golden(store, "southern")]
    return manifests.build(("scratch", "dent"), items)


def test_metrics_are_of_all_of_each_class_and_of_each_camera(
    tmp_path: Path, store: BlobStore
) -> None:
    agent = ShippedRunner((sys.executable, "-c", AGENT))
    metrics = evaluate(tmp_path, dataset(store), store, tmp_path / "work", agent)
    assert metrics["images"] == metrics["truth_boxes"] == 2
    # One of two objects found: precision is 1 up to a recall of 0.5, 51 of 101 points.
    assert metrics["map50"] == pytest.approx(51 / 101)
    assert metrics["per_class"]["dent"]["map50"] == metrics["map50"]
    assert metrics["per_camera"]["north"]["map50"] == pytest.approx(1)
    assert metrics["per_camera"]["southern"]["map50"] == 0
    assert metrics["mean_confidence"] == pytest.approx(0.8), "the faint one is not served"
    assert metrics["latency_ms_median"] == 1.5
