"""From what a training left in its folder to a registered version."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.access.principal import service_principal
from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.datasets import service as datasets
from cloud.datasets.service import DatasetManifest, Split
from cloud.evaluation import service as evaluation
from cloud.registry import service as registry
from cloud.registry.bundles import Assembled, BundleSpec, assemble
from cloud.registry.golden import FRAMES
from cloud.registry.service import NewVersion, OnBuildRegistered
from cloud.shipped import ShippedRunner
from cloud.training import service
from cloud.training.models import TrainingJob
from cloud.training.states import JobEvent
from cloud.training.workspace import Workspace
from protocol.bundles import MANIFEST_PATH

PRINCIPAL = service_principal("training")


@dataclass(frozen=True)
class Finisher:
    """Assembles, evaluates and registers what jobs made."""

    database: Database
    store: BlobStore
    hooks: Sequence[OnBuildRegistered]

    def finish(
        self, job: TrainingJob, workspace: Workspace, dataset: DatasetManifest, agent: ShippedRunner
    ) -> None:
        """Register the version and end the job, both in one transaction.

        Raises:
            ChildFailed, ChildCanceled: a run of the agent did not end well.
            HubError: the registry refused.
        """
        bundle = assemble(
            self._spec(job, workspace, dataset),
            workspace.onnx,
            workspace.folder / "bundle",
            agent,
        )
        metrics = evaluation.evaluate(
            bundle.folder, dataset, self.store, workspace.folder / "evaluation", agent
        )
        self._register(job, workspace, bundle, metrics)

    def _spec(self, job: TrainingJob, workspace: Workspace, dataset: DatasetManifest) -> BundleSpec:
        result = workspace.result()
        with self.database.reading() as session:
            number = registry.next_number(session, job.model)
            released = datasets.get_dataset(session, PRINCIPAL, job.dataset).golden_frames_released
        return BundleSpec(
            model=job.model,
            version=number,
            class_names=dataset.class_names,
            side_px=job.parameters["imgsz"],
            opset=result["opset"],
            golden_images=self._golden_images(dataset, workspace) if released else (),
            lineage=_shipped_lineage(job, result),
        )

    def _golden_images(self, dataset: DatasetManifest, workspace: Workspace) -> tuple[Path, ...]:
        """Those golden images that show the most."""
        golden = sorted(dataset.of(Split.GOLDEN), key=lambda i: (-len(i.boxes), i.image))
        folder = workspace.folder / "golden-images"
        return tuple(evaluation.link_images(golden[:FRAMES], self.store, folder))

    def _register(
        self, job: TrainingJob, workspace: Workspace, bundle: Assembled, metrics: dict[str, Any]
    ) -> None:
        weights = self.store.put_file(workspace.weights)
        for path in (MANIFEST_PATH, *(file.path for file in bundle.manifest.files)):
            self.store.put_file(bundle.folder / path)
        with self.database.transaction() as session:
            row = service.get_job(session, PRINCIPAL, job.id)
            version = datasets.get_version(session, PRINCIPAL, job.dataset, job.dataset_version)
            new = NewVersion(
                manifest=bundle.manifest,
                parent=job.parent_version,
                dataset=job.dataset,
                dataset_version=job.dataset_version,
                dataset_digest=version.digest,
                weights=weights,
                lineage={
                    **bundle.manifest.lineage,
                    "job": job.id,
                    "started_at": row.started_at,
                    "training_ended_at": row.training_ended_at,
                    "registered_at": time.time(),
                    "selection": {k: row.progress.get(k) for k in ("map50", "map50_95")},
                },
                metrics=metrics,
            )
            row.version = registry.register_version(session, PRINCIPAL, new, self.hooks)[0].number
            service.move(row, JobEvent.REGISTERED)
            session.add(row)


def _shipped_lineage(job: TrainingJob, result: dict[str, Any]) -> dict[str, Any]:
    """Where the build comes from, as every device may know it: no path of the hub."""
    named = job.weights in (service.SCRATCH, service.PARENT)
    return {
        "dataset": job.dataset,
        "dataset_version": job.dataset_version,
        "weights": job.weights if named else f"file:{Path(job.weights).name}",
        "parent": job.parent_version,
        "parameters": {k: v for k, v in job.parameters.items() if v is not None},
        "seed": job.parameters["seed"],
        "code_version": _code_version(),
        "ultralytics": result["ultralytics"],
        "torch": result["torch"],
    }


def _code_version() -> str:
    try:
        return importlib.metadata.version("argosy")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
