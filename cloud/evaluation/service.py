"""Evaluation of a build as it ships, on the golden split of a dataset version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from cloud.blobs.store import BlobStore
from cloud.datasets.service import DatasetManifest, Item, Split
from cloud.evaluation.coco import Score, ScoredBox, ScoredImage, score
from cloud.shipped import CONFIDENCE_FLOOR, ShippedResult, ShippedRunner

SERVED_FROM = 0.25


def evaluate(
    bundle: Path, dataset: DatasetManifest, store: BlobStore, work: Path, agent: ShippedRunner
) -> dict[str, Any]:
    """The metrics of the bundle in the folder `bundle`, as JSON values.

    Precision and recall count every detection from a floor that no serving threshold
    moves; the mean confidence is of those that would be served.

    Raises:
        ChildFailed, ChildCanceled: the agent's run did not end well.
    """
    items = dataset.of(Split.GOLDEN)
    results = agent.run(bundle, link_images(items, store, work / "images"), work)
    names = dataset.class_names
    whole = score([_scored(i, r) for i, r in zip(items, results, strict=True)], SERVED_FROM)
    return {
        **_named(whole, names),
        "per_camera": {
            camera: _named(part, names) for camera, part in _by_camera(items, results).items()
        },
        "latency_ms_median": median(r.latency_ms for r in results),
        "confidence_floor": CONFIDENCE_FLOOR,
    }


def link_images(items: Sequence[Item], store: BlobStore, folder: Path) -> list[Path]:
    """Links to the images of `items`, with suffixes that tell their format."""
    folder.mkdir(parents=True)
    links = [folder / f"{item.image}{item.suffix}" for item in items]
    for item, link in zip(items, links, strict=True):
        link.symlink_to(store.path(item.image).absolute())
    return links


def _by_camera(items: Sequence[Item], results: Sequence[ShippedResult]) -> dict[str, Score]:
    slices: dict[str, list[ScoredImage]] = {}
    for item, result in zip(items, results, strict=True):
        if item.camera is not None:
            slices.setdefault(item.camera, []).append(_scored(item, result))
    return {camera: score(images, SERVED_FROM) for camera, images in sorted(slices.items())}


def _scored(item: Item, result: ShippedResult) -> ScoredImage:
    return ScoredImage(
        truth=tuple(
            ScoredBox(box.class_id, box.to_pixels(result.width, result.height))
            for box in item.boxes
        ),
        predictions=tuple(ScoredBox(d.class_id, d.box, d.confidence) for d in result.detections),
    )


def _named(part: Score, class_names: Sequence[str]) -> dict[str, Any]:
    """The score with names of classes in place of their numbers."""
    values = part.as_dict()
    values["per_class"] = {
        class_names[int(class_id)]: entry for class_id, entry in values["per_class"].items()
    }
    return values
