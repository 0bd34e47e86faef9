"""A job's folder: what Ultralytics is given, and which images an epoch shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from cloud.blobs.store import BlobStore
from cloud.datasets import manifest as manifests
from cloud.datasets.boxes import LabelBox
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.splits import Split
from cloud.training.parameters import TrainingParameters
from cloud.training.workspace import Workspace, prepare, training_items

BOX = LabelBox(1, 0.5, 0.5, 0.25, 0.25)


def dataset(store: BlobStore) -> DatasetManifest:
    """Six imported train images, two harvested ones with weight 3, one of each other split."""
    items = [item(store, n, Split.TRAIN) for n in range(6)]
    items += [item(store, n, Split.TRAIN, source=f"annotation:{n}", weight=3) for n in (6, 7)]
    others = (Split.SELECTION, Split.CALIBRATION, Split.GOLDEN)
    items += [item(store, 8 + n, split) for n, split in enumerate(others)]
    return manifests.build(("a", "b"), items)


def item(store: BlobStore, number: int, split: Split, **changes: Any) -> Item:
    ref = store.put([f"image {number}".encode()])
    values = {
        "image": ref.sha256, "size_bytes": ref.size_bytes, "width": 8, "height": 8,
        "suffix": ".jpg", "split": split, "boxes": (BOX,), "difference_hash": "00" * 32,
        "source": f"import:{number}.jpg",
    }  # fmt: skip
    return Item.model_validate({**values, **changes})


def test_the_folder_holds_train_and_selection_and_never_golden(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs", blob_bytes_max=1000)
    manifest = dataset(store)
    (tmp_path / "start.pt").write_bytes(b"checkpoint")
    place = Workspace(tmp_path / "job")
    place.folder.mkdir()
    prepare(place, store, manifest, TrainingParameters(), tmp_path / "start.pt")

    data = place.folder / "data"
    described = yaml.safe_load((data / "data.yaml").read_text())
    assert described["names"] == {0: "a", 1: "b"}
    train = (data / "train.txt").read_text().split()
    assert len(train) == 6 + 2 * 3
    assert len(set(train)) == 8
    (selection,) = manifest.of(Split.SELECTION)
    assert (data / "val.txt").read_text() == f"./images/val/{selection.image}.jpg\n"
    for line in train:
        assert (data / line).read_bytes().startswith(b"image ")
        label = data / line.replace("images", "labels").replace(".jpg", ".txt")
        assert label.read_text() == f"{BOX.line()}\n"
    unseen = {i.image for i in manifest.of(Split.GOLDEN, Split.CALIBRATION)}
    assert not unseen & {p.stem for p in data.rglob("*.jpg")}
    order = json.loads((place.folder / "job.json").read_text())
    assert Path(order["weights"]).read_bytes() == b"checkpoint"


def test_from_scratch_names_the_architecture(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs", blob_bytes_max=1000)
    place = Workspace(tmp_path / "job")
    place.folder.mkdir()
    prepare(place, store, dataset(store), TrainingParameters(), None)
    assert json.loads((place.folder / "job.json").read_text())["weights"] == "yolo26n.yaml"


def test_rehearsal_takes_some_imported_and_all_harvested_images_by_the_seed(tmp_path: Path) -> None:
    manifest = dataset(BlobStore(tmp_path / "blobs", blob_bytes_max=1000))
    some = TrainingParameters(rehearsal_images_max=2)
    chosen = training_items(manifest, some)
    assert sum(i.source.startswith("import:") for i in chosen) == 2
    assert sum(i.source.startswith("annotation:") for i in chosen) == 2
    assert chosen == training_items(manifest, some)
    assert len(training_items(manifest, TrainingParameters(rehearsal_images_max=99))) == 8
