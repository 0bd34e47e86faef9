"""From what a training left in its folder to a registered version."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud import provenance
from cloud.access.principal import service_principal
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.building.making import BASE_NAME, Base, Maker, read_reference
from cloud.building.pipeline import measure
from cloud.building.registering import keep, record
from cloud.building.targets import parse
from cloud.building.workshop import MadeBuild, Order, Source, Workshop, as_it_is
from cloud.children import ChildLimits, run_child
from cloud.database import Database
from cloud.datasets import service as datasets
from cloud.datasets.service import DatasetManifest
from cloud.evaluation.running import Runs
from cloud.registry import service as registry
from cloud.registry.service import NewVersion, OnBuildRegistered
from cloud.settings import BuildingSettings
from cloud.shipped import ShippedRunner
from cloud.training import artefacts, service
from cloud.training.models import TrainingJob
from cloud.training.states import JobEvent
from cloud.training.workspace import Workspace

PRINCIPAL = service_principal("training")
ARTEFACT_KIND = "training"


@dataclass(frozen=True)
class Finisher:
    """Assembles, evaluates and registers what jobs made."""

    database: Database
    store: BlobStore
    hooks: Sequence[OnBuildRegistered]
    building: BuildingSettings
    limits: ChildLimits

    def finish(
        self, job: TrainingJob, workspace: Workspace, dataset: DatasetManifest, agent: ShippedRunner
    ) -> None:
        """Register the version and end the job, both in one transaction.

        Raises:
            ChildFailed, ChildCanceled: a run of the agent did not end well.
            HubError: the registry refused.
        """
        result = workspace.result()
        source = self._source(job, workspace, dataset)
        reference = result.get("reference")
        base = Base(
            onnx=workspace.onnx,
            opset=result["opset"],
            reference=None if reference is None else read_reference(reference),
            facts={k: result[k] for k in ("ultralytics", "torch", "frozen") if k in result},
        )
        target = parse(BASE_NAME, job.parameters["imgsz"])
        order = Order(target, as_it_is(base), base)
        made = measure(source, order, self._shop(workspace, agent))
        self._register(job, workspace, made)

    def _source(self, job: TrainingJob, workspace: Workspace, dataset: DatasetManifest) -> Source:
        with self.database.reading() as session:
            number = registry.next_number(session, job.model)
            held = datasets.get_version(session, PRINCIPAL, job.dataset, job.dataset_version)
        return Source(
            model=job.model,
            number=number,
            class_names=dataset.class_names,
            weights=workspace.weights,
            weights_format="pt",
            dataset=dataset,
            dataset_digest=held.digest,
            frames=workspace.golden_frames(),
            lineage=_shipped_lineage(job),
        )

    def _shop(self, workspace: Workspace, agent: ShippedRunner) -> Workshop:
        maker = Maker(
            workspace.folder / "made",
            lambda command, environment, on_poll: run_child(
                command,
                workspace.log,
                environment=environment,
                canceled=agent.canceled,
                on_poll=on_poll,
                limits=self.limits,
            ),
        )
        return Workshop(
            folder=workspace.folder / "build",
            runs=Runs(self.store, agent),
            maker=maker,
            settings=self.building,
        )

    def _register(self, job: TrainingJob, workspace: Workspace, made: MadeBuild) -> None:
        weights = self.store.put_file(workspace.weights)
        # An outside checkpoint lies nowhere else; without it nobody could train this again.
        start = self.store.put_file(workspace.start) if _is_outside(job) else None
        kept = keep(self.store, made)
        papers = [
            (found, self.store.put_file(found.path)) for found in artefacts.collect(workspace.run)
        ]
        with self.database.transaction() as session:
            row = service.get_job(session, PRINCIPAL, job.id)
            version = datasets.get_version(session, PRINCIPAL, job.dataset, job.dataset_version)
            new = NewVersion(
                manifest=made.bundle.manifest,
                parent=job.parent_version,
                dataset=job.dataset,
                dataset_version=job.dataset_version,
                dataset_digest=version.digest,
                weights=weights,
                lineage={
                    **made.bundle.manifest.lineage,
                    "job": job.id,
                    "started_at": row.started_at,
                    "training_ended_at": row.training_ended_at,
                    "registered_at": time.time(),
                    "selection": {k: row.progress.get(k) for k in ("map50", "map50_95")},
                    "tags": dict(job.tags),
                    "start_sha256": start and blobs.record(session, start).sha256,
                },
                metrics=made.metrics,
                verdict=made.verdict.as_dict(),
                notes=made.notes,
            )
            made_version, build = registry.register_version(session, PRINCIPAL, new, self.hooks)
            record(session, build, made, kept)
            for paper, blob in papers:
                registry.add_artefact(
                    session, PRINCIPAL, made_version, paper.name,
                    kind=ARTEFACT_KIND, media_type=paper.media_type, blob=blob,
                )  # fmt: skip
            row.version = made_version.number
            service.move(row, JobEvent.REGISTERED)
            session.add(row)


def _is_outside(job: TrainingJob) -> bool:
    return job.weights not in (service.SCRATCH, service.PARENT)


def _shipped_lineage(job: TrainingJob) -> dict[str, Any]:
    """Where the build comes from, as every device may know it: no path of the hub."""
    return {
        "dataset": job.dataset,
        "dataset_version": job.dataset_version,
        "weights": f"file:{Path(job.weights).name}" if _is_outside(job) else job.weights,
        "parent": job.parent_version,
        "parameters": {k: v for k, v in job.parameters.items() if v is not None},
        "seed": job.parameters["seed"],
        "code": provenance.code(),
        "environment": provenance.environment(),
    }
