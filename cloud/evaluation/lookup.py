"""Evaluations of registered builds: looked up, or made now where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cloud.access.principal import service_principal
from cloud.datasets import service as datasets
from cloud.datasets.models import DatasetVersion
from cloud.datasets.service import DatasetManifest, Item, Split
from cloud.errors import InvalidError
from cloud.evaluation import perturbed, predictions, service
from cloud.evaluation.models import Evaluation
from cloud.evaluation.perturbed import Perturbed
from cloud.evaluation.running import GOLDEN, RECENT, ROBUSTNESS, Evaluated, Runs
from cloud.jobs.context import JobContext
from cloud.registry.bundles import Bundle, materialise
from cloud.registry.models import Build
from cloud.settings import BuildingSettings
from cloud.shipped import ShippedRunner

PRINCIPAL = service_principal("evaluation")


@dataclass
class Evaluations:
    """What builds see in given images, for one job. What is run is recorded for the next.

    Bundles and spoiled images are laid out once in the job's folder.
    """

    context: JobContext
    settings: BuildingSettings
    agent: ShippedRunner
    _bundles: dict[str, Bundle] = field(default_factory=dict, init=False)
    _perturbed: dict[str, Perturbed] = field(default_factory=dict, init=False)
    _runs_made: int = field(default=0, init=False)

    def golden(self, build: Build, dataset: DatasetVersion) -> Evaluated:
        """On the golden images of a dataset version."""
        manifest = self._manifest(dataset)
        items = manifest.of(Split.GOLDEN)
        return self._on(build, items, GOLDEN, dataset.digest)

    def recent(self, build: Build, images: Sequence[Item]) -> Evaluated:
        """On these labelled images."""
        return self._on(build, images, RECENT, "")

    def robustness(self, build: Build, dataset: DatasetVersion) -> Mapping[str, float] | None:
        """mAP50 under each perturbation relative to clean, as "light 1" … "occlusion 5"; empty
        where the hub is set not to look, None where the clean one is 0."""
        items = perturbed.choose(
            self._manifest(dataset).of(Split.GOLDEN),
            self.settings.robustness_images_max,
            self.settings.robustness_seed,
        )
        if not items:
            return {}
        known = self._known(build, ROBUSTNESS, items)
        if known is None:
            spoiled = self._spoiled(dataset, items)
            made = spoiled.evaluate(
                self._bundle(build),
                self._runs(),
                dataset.digest,
                self._folder(),
                on_progress=lambda d, t: self.context.progress("spoiled images", d, t),
            )
            self._record(build, made)
            metrics = made.metrics
        else:
            metrics = known.metrics
        if metrics["robustness"]["clean"] == 0:
            return None
        table: dict[str, dict[str, Any]] = metrics["robustness"]["per_perturbation"]
        return {
            f"{name} {strength}": float(relative)
            for name, entry in table.items()
            for strength, relative in enumerate(entry["relative"], start=1)
            if relative is not None
        }

    def _on(self, build: Build, items: Sequence[Item], kind: str, dataset_digest: str) -> Evaluated:
        known = self._known(build, kind, items)
        if known is not None and known.predictions_sha256 is not None:
            seen = tuple(service.seen_of(self.context.store, known))
            return Evaluated(kind, known.dataset_digest, known.images_sha256, known.metrics, seen)
        made = self._runs().labelled_items(
            self._bundle(build),
            items,
            kind,
            dataset_digest,
            self._folder(),
            latency_frames=self.settings.latency_frames,
            on_progress=lambda d, t: self.context.progress(f"{kind} images", d, t),
        )
        self._record(build, made)
        return made

    def _known(self, build: Build, kind: str, items: Sequence[Item]) -> Evaluation | None:
        if not items:
            raise InvalidError(
                f"there are no {kind} images to look at", "import a dataset with a val split"
            )
        name = predictions.images_sha256(item.image for item in items)
        with self.context.database.reading() as session:
            return service.newest(session, build.digest, kind, name)

    def _record(self, build: Build, made: Evaluated) -> None:
        seen = service.keep_predictions(self.context.store, made)
        with self.context.database.transaction() as session:
            service.record(session, build.digest, made, seen)

    def _manifest(self, dataset: DatasetVersion) -> DatasetManifest:
        return datasets.read_manifest(self.context.store, dataset)

    def _bundle(self, build: Build) -> Bundle:
        if build.digest not in self._bundles:
            folder = self.context.folder / "bundles" / build.digest[:16]
            self._bundles[build.digest] = materialise(self.context.store, build.digest, folder)
        return self._bundles[build.digest]

    def _spoiled(self, dataset: DatasetVersion, items: Sequence[Item]) -> Perturbed:
        if dataset.digest not in self._perturbed:
            folder = self.context.folder / "perturbed"
            self._perturbed[dataset.digest] = perturbed.make(
                items, self.context, folder, self.settings.robustness_seed
            )
        return self._perturbed[dataset.digest]

    def _runs(self) -> Runs:
        return Runs(self.context.store, replace(self.agent, canceled=self.context.canceled))

    def _folder(self) -> Path:
        self._runs_made += 1
        return self.context.folder / f"run-{self._runs_made}"
