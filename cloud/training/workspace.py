"""The folder of a job: the dataset in the layout that Ultralytics reads, and the order."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cloud.blobs.store import BlobStore
from cloud.datasets.service import DatasetManifest, Item, Split
from cloud.training.parameters import TrainingParameters

SCRATCH_ARCHITECTURE = "yolo26n.yaml"
IMPORTED_PREFIX = "import:"


@dataclass(frozen=True)
class Workspace:
    """Names inside of a job's folder."""

    folder: Path

    @property
    def progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "train.log"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pt"

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def run(self) -> Path:
        """What Ultralytics leaves of the training; see `cloud.training.artefacts`."""
        return self.folder / "ultralytics" / "train"

    @property
    def start(self) -> Path:
        """The checkpoint that training starts from, where it does not start untrained."""
        return self.folder / "start.pt"

    @property
    def golden(self) -> Path:
        return self.folder / "golden"

    def golden_frames(self) -> tuple[Path, ...]:
        """The frames that the bundle will be held to, as `write_frames` left them."""
        return tuple(sorted((self.golden / "frames").glob("*.png")))

    def result(self) -> dict[str, Any]:
        """What the child says of the export: opset, library versions, what stayed frozen."""
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return found

    def environment(self) -> dict[str, str]:
        """Ultralytics without network, without installing, with its settings in here.

        Waiting threads spin for a bounded while: at once asleep they take more than twice as
        long for a step on an idle machine, and without a bound they starve other work.
        """
        return {
            "GOMP_SPINCOUNT": "100000",
            "PYTHONDONTWRITEBYTECODE": "",
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_CONFIG_DIR": str(self.folder / "config"),
            "WANDB_MODE": "disabled",
        }


def prepare(
    workspace: Workspace,
    store: BlobStore,
    manifest: DatasetManifest,
    parameters: TrainingParameters,
    start_from: Path | None,
) -> None:
    """Fill the job's folder.

    Images are copied, for Ultralytics rewrites a JPEG that it finds damaged in its place.

    Args:
        start_from: the checkpoint to start from; None: untrained.
    """
    data = workspace.folder / "data"
    train = training_items(manifest, parameters)
    selection = manifest.of(Split.SELECTION)
    _write_split(data, "train", train, store)
    _write_split(data, "val", selection, store)
    names = dict(enumerate(manifest.class_names))
    described = {"path": str(data), "train": "train.txt", "val": "val.txt", "names": names}
    (data / "data.yaml").write_text(yaml.safe_dump(described, sort_keys=False))
    weights = SCRATCH_ARCHITECTURE
    if start_from is not None:
        weights = str(workspace.start)
        shutil.copyfile(start_from, weights)
    order = {
        "parameters": parameters.model_dump(mode="json"),
        "weights": weights,
        "class_names": list(manifest.class_names),
    }
    (workspace.folder / "job.json").write_text(json.dumps(order))


def training_items(manifest: DatasetManifest, parameters: TrainingParameters) -> list[Item]:
    """The train images that this training takes, by the seed where it takes not all."""
    items = list(manifest.of(Split.TRAIN))
    imported = [item for item in items if item.source.startswith(IMPORTED_PREFIX)]
    most = parameters.rehearsal_images_max
    if most is None or len(imported) <= most:
        return items
    chosen = random.Random(parameters.seed).sample(imported, most)  # noqa: S311 - no secret
    kept = {item.image for item in chosen}
    return [i for i in items if i.image in kept or not i.source.startswith(IMPORTED_PREFIX)]


def _write_split(data: Path, split: str, items: Sequence[Item], store: BlobStore) -> None:
    images, labels = data / "images" / split, data / "labels" / split
    for folder in (images, labels):
        folder.mkdir(parents=True)
    lines = []
    for item in items:
        name = f"{item.image}{item.suffix}"
        shutil.copyfile(store.path(item.image), images / name)
        text = "".join(f"{box.line()}\n" for box in item.boxes)
        (labels / f"{item.image}.txt").write_text(text)
        lines += [f"./images/{split}/{name}\n"] * item.weight
    (data / f"{split}.txt").write_text("".join(lines))
