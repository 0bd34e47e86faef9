"""Runs of a bundle over labelled images, by the agent's own code, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.blobs.store import BlobStore
from cloud.datasets.service import DatasetManifest, Item, Split
from cloud.evaluation import calibration, predictions, thresholds
from cloud.evaluation.coco import ScoredBox, ScoredImage
from cloud.evaluation.matching import match
from cloud.evaluation.predictions import SeenImage
from cloud.evaluation.report import evaluation_report
from cloud.registry.bundles import Bundle
from cloud.shipped import CONFIDENCE_FLOOR, OnProgress, ShippedRun, ShippedRunner
from protocol.bundles import Calibration, DriftReference, Thresholds

GOLDEN, ROBUSTNESS, RECENT = "golden", "robustness", "recent"


@dataclass(frozen=True)
class Evaluated:
    """A build's run over some images, and its figures.

    Attributes:
        kind: `golden`, `robustness` or `recent`.
        seen: what was seen, image by image; kept as a blob.
    """

    kind: str
    dataset_digest: str
    images_sha256: str
    metrics: dict[str, Any]
    seen: tuple[SeenImage, ...]


@dataclass(frozen=True)
class Fitted:
    """What the calibration split says of a build: where to serve from, what a score is worth."""

    thresholds: Thresholds
    calibration: Calibration | None
    report: dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """Who runs bundles, and where images come from."""

    store: BlobStore
    agent: ShippedRunner

    def over(
        self,
        bundle: Bundle,
        items: Sequence[Item],
        work: Path,
        *,
        latency_frames: int = 0,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> ShippedRun:
        """Raises ChildFailed or ChildCanceled where the run does not end well."""
        links = link_images(items, self.store, work / "images")
        return self.agent.run(
            bundle.folder, links, work, latency_frames=latency_frames, on_progress=on_progress
        )

    def fit(self, draft: Bundle, dataset: DatasetManifest, work: Path) -> Fitted:
        """Thresholds and calibration of a bundle that has none yet, on the calibration split."""
        items = dataset.of(Split.CALIBRATION)
        run = self.over(draft, items, work)
        matches = match(labelled(items, _seen(items, run)))
        serving = thresholds.fit(matches, dataset.class_names)
        worth = calibration.fit(calibration.samples(matches))
        report = {
            "images": len(items),
            "thresholds": serving.report,
            "calibration": worth.as_dict(),
        }
        return Fitted(serving.thresholds, worth.calibration, report)

    def drift_reference(
        self, draft: Bundle, dataset: DatasetManifest, work: Path
    ) -> DriftReference:
        """What the bundle counts on the calibration split, as a device counts."""
        items = dataset.of(Split.CALIBRATION)
        run = self.over(draft, items, work)
        return DriftReference(
            images=len(items),
            images_sha256=predictions.images_sha256(i.image for i in items),
            stats=run.stats,
        )

    def golden(
        self,
        bundle: Bundle,
        dataset: DatasetManifest,
        dataset_digest: str,
        work: Path,
        *,
        latency_frames: int = 0,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> Evaluated:
        """The bundle on the golden split."""
        items = dataset.of(Split.GOLDEN)
        return self.labelled_items(
            bundle, items, GOLDEN, dataset_digest, work,
            latency_frames=latency_frames, on_progress=on_progress,
        )  # fmt: skip

    def labelled_items(
        self,
        bundle: Bundle,
        items: Sequence[Item],
        kind: str,
        dataset_digest: str,
        work: Path,
        *,
        latency_frames: int = 0,
        on_progress: OnProgress = lambda done, total: None,  # noqa: ARG005
    ) -> Evaluated:
        """The bundle on these labelled images."""
        run = self.over(bundle, items, work, latency_frames=latency_frames, on_progress=on_progress)
        seen = _seen(items, run)
        manifest = bundle.manifest
        known = {"size_bytes": manifest.size_bytes, "confidence_floor": CONFIDENCE_FLOOR}
        metrics = report_of(
            items, seen, manifest.class_names, manifest.thresholds, manifest.calibration,
            summary={**run.summary, **known},
        )  # fmt: skip
        metrics["run"] = run.summary
        metrics["machine"] = run.summary.get("machine")
        name = predictions.images_sha256(i.image for i in items)
        return Evaluated(kind, dataset_digest, name, metrics, tuple(seen))


def report_of(
    items: Sequence[Item],
    seen: Sequence[SeenImage],
    class_names: Sequence[str],
    serving: Thresholds,
    worth: Calibration | None,
    *,
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """The metrics of what was seen in these items.

    Args:
        summary: of the agent's run, with what else is known of the build.
    """
    return evaluation_report(
        labelled(items, seen),
        class_names,
        serving,
        worth,
        tags=[tags_of(item) for item in items],
        luminances=[image.luminance for image in seen],
        summary=summary,
    )


def labelled(items: Sequence[Item], seen: Sequence[SeenImage]) -> list[ScoredImage]:
    """Truth and predictions of each image, in pixels of the image."""
    return [
        ScoredImage(
            truth=tuple(
                ScoredBox(box.class_id, box.to_pixels(image.width, image.height))
                for box in item.boxes
            ),
            predictions=image.detections,
        )
        for item, image in zip(items, seen, strict=True)
    ]


def tags_of(item: Item) -> dict[str, str]:
    """What is known of where an image comes from."""
    camera = {} if item.camera is None else {"camera": item.camera}
    return {**(item.tags or {}), **camera}


def link_images(items: Sequence[Item], store: BlobStore, folder: Path) -> list[Path]:
    """Links to the images of `items`, with suffixes that tell their format."""
    folder.mkdir(parents=True)
    links = [folder / f"{item.image}{item.suffix}" for item in items]
    for item, link in zip(items, links, strict=True):
        link.symlink_to(store.path(item.image).absolute())
    return links


def _seen(items: Sequence[Item], run: ShippedRun) -> list[SeenImage]:
    return predictions.seen([item.image for item in items], run.results)
