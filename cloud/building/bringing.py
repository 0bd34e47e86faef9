"""From an outside file that was inspected to a version of a model: its fp32 build, evaluated."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloud import provenance
from cloud.building.importing import ImportedFile, ImportRequest
from cloud.building.making import BASE_NAME
from cloud.building.matrix import ADMITTED, REFUSED, REJECTED, MatrixBuilder, workshop
from cloud.building.pipeline import measure
from cloud.building.registering import keep, record
from cloud.building.source import PRINCIPAL, write_frames
from cloud.building.targets import parse
from cloud.building.workshop import MadeBuild, Order, Source, as_it_is, golden_items
from cloud.datasets import service as datasets
from cloud.datasets.models import DatasetVersion
from cloud.errors import InvalidError
from cloud.evaluation.tolerance import accuracy_warnings
from cloud.jobs.context import JobContext
from cloud.registry import service as registry
from cloud.registry.service import NewVersion
from cloud.shipped import BundleRefused


@dataclass(frozen=True)
class BringIn:
    """Registers what an import found, as a version with its first build."""

    builder: MatrixBuilder

    def __call__(
        self, context: JobContext, wanted: ImportRequest, imported: ImportedFile
    ) -> Mapping[str, Any]:
        """Raises InvalidError where the file is no detector that could be built."""
        model = context.job.subject.removeprefix("model/")
        with context.database.reading() as session:
            held = datasets.get_version(session, PRINCIPAL, wanted.dataset, wanted.dataset_version)
            released = datasets.get_dataset(
                session, PRINCIPAL, wanted.dataset
            ).golden_frames_released
            number = registry.next_number(session, model)
        dataset = datasets.read_manifest(context.store, held)
        golden_items(dataset)
        facts = imported.facts
        source = Source(
            model=model,
            number=number,
            class_names=dataset.class_names,
            weights=imported.weights,
            weights_format=facts.format,
            dataset=dataset,
            dataset_digest=held.digest,
            frames=write_frames(
                dataset, context.store, context.folder / "golden", released=released
            ),
            lineage={
                "imported": facts.as_json(),
                "dataset": wanted.dataset,
                "dataset_version": held.number,
                "code": provenance.code(),
                "environment": provenance.environment(),
            },
        )
        shop = workshop(self.builder, context)
        target = parse(f"{BASE_NAME}@{facts.width}x{facts.height}", facts.width)
        base = shop.maker.base(
            target, source.weights, source.weights_format, source.class_names, source.frames
        )
        try:
            made = measure(source, Order(target, as_it_is(base), base, imported=True), shop)
        except BundleRefused as error:
            context.log(str(error))
            raise InvalidError(
                f"{REFUSED}: {error.fault}",
                "see what it answers where it was made, and export it again",
            ) from error
        return self._register(context, wanted, imported, held, made)

    def _register(
        self,
        context: JobContext,
        wanted: ImportRequest,
        imported: ImportedFile,
        held: DatasetVersion,
        made: MadeBuild,
    ) -> dict[str, Any]:
        context.check()
        weights = context.store.put_file(imported.weights)
        kept = keep(context.store, made)
        manifest = made.bundle.manifest
        new = NewVersion(
            manifest=manifest,
            parent=None,
            dataset=wanted.dataset,
            dataset_version=held.number,
            dataset_digest=held.digest,
            weights=weights,
            weights_format=imported.facts.format,
            source="import",
            lineage={**manifest.lineage, "registered_at": time.time(), "job": context.job.id},
            metrics=made.metrics,
            verdict=made.verdict.as_dict(),
            notes=made.notes,
        )
        with context.database.transaction() as session:
            version, build = registry.register_version(session, PRINCIPAL, new, self.builder.hooks)
            record(session, build, made, kept)
            if wanted.notes:
                subject = f"model/{version.model}/{version.number}"
                registry.add_note(session, PRINCIPAL, subject, wanted.notes)
        return {
            "model": version.model,
            "number": version.number,
            "build": build.digest,
            "outcome": ADMITTED if made.verdict.admitted else REJECTED,
            "reasons": list(made.verdict.reasons),
            "warnings": accuracy_warnings(made.verdict.as_dict()),
            "map50": made.metrics.get("map50"),
            "map50_95": made.metrics.get("map50_95"),
        }
