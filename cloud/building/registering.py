"""From a build that was made to one that is registered: blobs first, then the rows, at once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session

from cloud.blobs.store import BlobStore
from cloud.building.source import PRINCIPAL
from cloud.building.workshop import MadeBuild
from cloud.evaluation import service as evaluation
from cloud.registry import service as registry
from cloud.registry.models import Build, ModelVersion
from cloud.registry.service import OnBuildRegistered
from protocol.bundles import MANIFEST_PATH
from protocol.chunks import BlobRef

Kept = Sequence[BlobRef | None]
"""The blobs of what was seen, an entry for each evaluation."""


def keep(store: BlobStore, made: MadeBuild) -> Kept:
    """Put everything into the store that the rows will name."""
    for path in (MANIFEST_PATH, *(file.path for file in made.bundle.manifest.files)):
        store.put_file(made.bundle.folder / path)
    return [evaluation.keep_predictions(store, evaluated) for evaluated in made.evaluations]


def register(
    session: Session,
    version: ModelVersion,
    made: MadeBuild,
    kept: Kept,
    hooks: Sequence[OnBuildRegistered],
) -> Build:
    """The build's row with its evaluations; the one that is there where it was registered."""
    build = registry.add_build(
        session,
        PRINCIPAL,
        version,
        made.bundle.manifest,
        metrics=made.metrics,
        verdict=made.verdict.as_dict(),
        notes=made.notes,
        hooks=hooks,
    )
    record(session, build, made, kept)
    return build


def record(session: Session, build: Build, made: MadeBuild, kept: Kept) -> None:
    """The evaluations of a build that was just registered."""
    for evaluated, seen in zip(made.evaluations, kept, strict=True):
        evaluation.record(session, build.digest, evaluated, seen)
