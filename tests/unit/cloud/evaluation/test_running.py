"""A build's runs over labelled images: its figures, what fits it, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud.blobs.store import BlobStore
from cloud.children import ChildFailed
from cloud.database import Database
from cloud.datasets import manifest as manifests
from cloud.datasets.boxes import LabelBox
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.splits import Split
from cloud.errors import InvalidError
from cloud.evaluation import predictions, service
from cloud.evaluation.running import Runs
from cloud.registry.bundles import Bundle, BundleSpec, begin
from cloud.registry.golden import write_frames
from protocol.builds import BuildIdentity, Format, Precision
from tests.fixtures.shipped import agent, program

BOX = LabelBox(1, 0.5, 0.5, 0.5, 0.5)
PIXELS = [50, 25, 150, 75]
IDENTITY = BuildIdentity(
    format=Format.ONNX, precision=Precision.FP32, runtime="onnxruntime",
    runtime_precision=Precision.FP32, input_width=64, input_height=64, opset=17,
)  # fmt: skip
SPEC = BundleSpec("parts", 1, ("scratch", "dent"), IDENTITY)

# Sees the objects of an image by what is written in the image's file.
READS = program(
    '{"width": 200, "height": 100, "luminance": 40.0 + number,'
    ' "detections": json.loads(pathlib.Path(image).read_text())}'
)


def item(store: BlobStore, split: Split, camera: str, *detections: object) -> Item:
    """An image of `camera` in which the stand-in sees `detections`."""
    ref = store.put([json.dumps(detections).encode(), b" " * len(camera)])
    return Item.model_validate(
        {
            "image": ref.sha256, "size_bytes": ref.size_bytes, "width": 200, "height": 100,
            "suffix": ".jpg", "split": split, "boxes": (BOX,),
            "difference_hash": "00" * 32, "source": "import:x", "camera": camera,
            "tags": {"site": "osaka"},
        }
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", blob_bytes_max=100_000)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "m.onnx").write_bytes(b"model")
    frames = write_frames((), tmp_path / "frames")
    return begin(tmp_path / "bundle", {"model.onnx": tmp_path / "m.onnx"}, frames).write(SPEC)


def dataset(store: BlobStore) -> DatasetManifest:
    seen = {"class_id": 1, "confidence": 0.8, "box": PIXELS}
    faint = {"class_id": 1, "confidence": 0.01, "box": [0, 0, 9, 9]}
    items = [
        item(store, Split.GOLDEN, "north", seen, faint),
        item(store, Split.GOLDEN, "southern"),
        item(store, Split.CALIBRATION, "eastern line", seen),
    ]
    return manifests.build(("scratch", "dent"), items)


def test_figures_are_of_all_of_each_class_and_of_each_slice(
    tmp_path: Path, store: BlobStore, bundle: Bundle
) -> None:
    told: list[tuple[int, int]] = []
    found = Runs(store, agent(READS)).golden(
        bundle, dataset(store), "ab" * 32, tmp_path / "work", latency_frames=3,
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    metrics = found.metrics
    assert metrics["images"] == metrics["truth_boxes"] == 2
    # One of two objects found: precision is 1 up to a recall of 0.5, 51 of 101 points.
    assert metrics["map50"] == pytest.approx(51 / 101)
    assert metrics["per_class"]["dent"]["map50"] == metrics["map50"]
    assert metrics["per_camera"]["north"]["map50"] == pytest.approx(1)
    assert metrics["per_camera"]["southern"]["map50"] == 0
    assert metrics["per_slice"]["site"]["osaka"]["images"] == 2
    assert metrics["per_slice"]["lighting"]["dark"]["images"] == 2
    assert metrics["mean_confidence"] == pytest.approx(0.8), "the faint one is not served"
    assert metrics["latency_ms_median"] == 9.0
    assert metrics["size_bytes"] == bundle.manifest.size_bytes
    assert told[-1] == (2, 2)


def test_what_was_seen_is_kept_and_read_again(
    tmp_path: Path, store: BlobStore, bundle: Bundle
) -> None:
    found = Runs(store, agent(READS)).golden(bundle, dataset(store), "ab" * 32, tmp_path / "work")
    data = predictions.encode(found.seen)
    assert data == predictions.encode(found.seen)
    assert predictions.decode(data) == list(found.seen)
    with pytest.raises(InvalidError, match="cannot be read"):
        predictions.decode(data[:-9])


def test_too_few_images_fit_nothing_and_the_report_says_so(
    tmp_path: Path, store: BlobStore, bundle: Bundle
) -> None:
    fitted = Runs(store, agent(READS)).fit(bundle, dataset(store), tmp_path / "work")
    assert fitted.calibration is None
    assert fitted.thresholds.default == 0.25
    assert fitted.report["images"] == 1
    assert "8 images" in fitted.report["calibration"]["reason"]


def test_the_drift_reference_names_its_images(
    tmp_path: Path, store: BlobStore, bundle: Bundle
) -> None:
    held = dataset(store)
    found = Runs(store, agent(READS)).drift_reference(bundle, held, tmp_path / "work")
    (only,) = held.of(Split.CALIBRATION)
    assert found.images_sha256 == predictions.images_sha256([only.image])
    assert found.stats.frames_inferred == found.images == 1


def test_an_agent_that_leaves_an_image_out_fails_the_run(
    tmp_path: Path, store: BlobStore, bundle: Bundle
) -> None:
    short = READS.replace("for number, image in enumerate(images)", "for number, image in "
                          "enumerate(images[1:])")  # fmt: skip
    with pytest.raises(ChildFailed, match="answered 1 images, not the 2"):
        Runs(store, agent(short)).golden(bundle, dataset(store), "ab" * 32, tmp_path / "work")


def test_an_unknown_build_has_no_evaluations(database: Database) -> None:
    with database.reading() as session:
        assert service.newest(session, "cd" * 32, "golden") is None
