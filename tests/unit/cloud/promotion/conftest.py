"""Two versions of a model with one build each, golden images, and what the builds saw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlmodel import Session

from cloud.access.principal import Role, service_principal
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.datasets import manifest as manifests
from cloud.datasets import service as datasets
from cloud.datasets.boxes import LabelBox
from cloud.datasets.models import DatasetVersion
from cloud.datasets.service import Item, Split
from cloud.evaluation.coco import ScoredBox
from cloud.evaluation.predictions import SeenImage
from cloud.evaluation.running import Evaluated
from cloud.jobs.context import JobContext
from cloud.jobs.models import Job
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.registry.service import NewVersion
from protocol import bundles
from protocol.builds import BuildIdentity, Format, Precision
from protocol.bundles import BundleFile, Manifest, Preprocessing, Thresholds
from protocol.chunks import describe

APPROVER = service_principal("ann", Role.APPROVER)
OPERATOR = service_principal("olaf", Role.OPERATOR)
MODEL, CLASSES = "caps", ("scratch", "<b>dent</b>")
GOLDEN_IMAGES, SIDE_PX = 40, 64
LABELS = (LabelBox(0, 0.25, 0.25, 0.3, 0.3), LabelBox(1, 0.7, 0.7, 0.3, 0.3))


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE_PX, SIDE_PX), (number, 90, 60)).save(buffer, "PNG")
    return buffer.getvalue()


def item(data: bytes, split: Split) -> Item:
    return Item(
        image=describe(data).sha256,
        size_bytes=len(data),
        width=SIDE_PX,
        height=SIDE_PX,
        suffix=".png",
        split=split,
        boxes=LABELS,
        difference_hash=describe(data).sha256,  # as far apart as any two
        source="import:x",
    )


@dataclass
class Answering:
    """Evaluations that need no run: a build sees what it is told to, by its version."""

    misses: dict[int, int] = field(default_factory=dict)
    recent_asked: list[int] = field(default_factory=list)
    items: Sequence[Item] = ()

    def golden(self, build: Build, dataset: DatasetVersion) -> Evaluated:
        return self._seen(build, self.items, dataset.digest)

    def recent(self, build: Build, images: Sequence[Item]) -> Evaluated:
        self.recent_asked.append(len(images))
        return self._seen(build, images, "")

    def robustness(self, build: Build, dataset: DatasetVersion) -> Mapping[str, float]:
        assert build.digest and dataset.digest
        return {"light 1": 0.9, "light 2": 0.8}

    def _seen(self, build: Build, items: Sequence[Item], digest: str) -> Evaluated:
        """Every object, but for the scratches of as many images as the version misses."""
        missed = self.misses.get(build.number, 0)
        seen = tuple(
            SeenImage(
                one.image,
                SIDE_PX,
                SIDE_PX,
                None,
                tuple(
                    ScoredBox(b.class_id, b.to_pixels(SIDE_PX, SIDE_PX), 0.9 - place / 1000)
                    for b in one.boxes
                    if b.class_id == 1 or place >= missed
                ),
            )
            for place, one in enumerate(items)
        )
        metrics = {"latency_ms_median": 10.0, "images": len(items)}
        return Evaluated("golden", digest, "", metrics, seen)


@dataclass
class Shop:
    """A database and a store with a model of two versions."""

    database: Database
    store: BlobStore
    answering: Answering
    folder: Path

    def context(self, job: Job) -> JobContext:
        folder = self.folder / job.id
        folder.mkdir()
        return JobContext(job, folder, self.database, self.store, save=lambda _: False)


def register(
    session: Session,
    store: BlobStore,
    number: int,
    dataset: DatasetVersion,
    *,
    width: int = SIDE_PX,
    height: int = SIDE_PX,
    batch: int = 1,
) -> Build:
    files = {"model.onnx": f"weights {number}".encode(), "golden.json": b"{}"}
    manifest = Manifest(
        model=MODEL,
        version=number,
        build=BuildIdentity(
            format=Format.ONNX,
            precision=Precision.FP32,
            runtime="onnxruntime",
            runtime_precision=Precision.FP32,
            input_width=width,
            input_height=height,
            batch=batch,
        ),
        head="end2end",
        class_names=CLASSES,
        thresholds=Thresholds(),
        preprocessing=Preprocessing(),
        files=tuple(BundleFile(path=p, blob=describe(data)) for p, data in files.items()),
    )
    store.put([bundles.canonical(manifest)])
    values: dict[str, Any] = {"map50": 0.9, "map50_95": 0.5}
    new = NewVersion(
        manifest=manifest,
        parent=None,
        dataset=dataset.dataset,
        dataset_version=dataset.number,
        dataset_digest=dataset.digest,
        weights=describe(f"checkpoint {number}".encode()),
        lineage={},
        metrics=values,
    )
    return registry.register_version(session, OPERATOR, new)[1]


def furnish(database: Database, store: BlobStore, folder: Path) -> Shop:
    """Two versions, trained on images other than the golden ones."""
    golden = [item(picture(n), Split.GOLDEN) for n in range(GOLDEN_IMAGES)]
    train = [item(picture(n + 100), Split.TRAIN) for n in range(4)]
    for number in [*range(GOLDEN_IMAGES), *range(100, 104)]:
        store.put([picture(number)])
    manifest = manifests.build(CLASSES, [*golden, *train])
    store.put([manifests.canonical(manifest)])
    with database.transaction() as session:
        for one in manifest.items:
            blobs.record(session, describe(store.read(one.image)), "image/png")
        registry.create_model(session, OPERATOR, MODEL, CLASSES)
        dataset = datasets.register_version(session, OPERATOR, "caps", manifest, [])
        for number in (1, 2):
            register(session, store, number, dataset)
    return Shop(database, store, Answering(items=manifest.of(Split.GOLDEN)), folder)


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    store = BlobStore(tmp_path / "blobs", blob_bytes_max=2**24)
    return furnish(database, store, tmp_path)
