"""Verbs of evaluation: what builds were found to be worth, kept and looked up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from sqlmodel import Session

from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.evaluation import predictions, queries
from cloud.evaluation.models import Evaluation
from cloud.evaluation.predictions import SeenImage
from cloud.evaluation.running import Evaluated
from cloud.registry import service as registry
from cloud.registry.models import Build, ModelVersion
from protocol.chunks import BlobRef

MEDIA_TYPE = "application/gzip"


def keep_predictions(store: BlobStore, evaluated: Evaluated) -> BlobRef | None:
    """Put what was seen into the store, before the evaluation is recorded."""
    return store.put([predictions.encode(evaluated.seen)]) if evaluated.seen else None


def record(session: Session, build: str, evaluated: Evaluated, seen: BlobRef | None) -> Evaluation:
    """The row of an evaluation; the one that is there where the same was recorded before."""
    there = queries.newest(session, build, evaluated.kind, evaluated.images_sha256)
    if there is not None:
        return there
    row = Evaluation(
        id=uuid.uuid4().hex,
        build=build,
        kind=evaluated.kind,
        dataset_digest=evaluated.dataset_digest,
        images_sha256=evaluated.images_sha256,
        images=evaluated.metrics.get("images") or len(evaluated.seen),
        metrics=evaluated.metrics,
        predictions_sha256=None if seen is None else blobs.record(session, seen, MEDIA_TYPE).sha256,
        created_at=time.time(),
    )
    session.add(row)
    session.flush()
    return row


def evaluations_of(session: Session, principal: Principal, build: str) -> Sequence[Evaluation]:
    """Of a build, oldest first. `build` may be the beginning of its digest.

    Raises NotFoundError or ConflictError where it names none, or several.
    """
    require(principal, Role.VIEWER)
    found = registry.get_build(session, principal, build)
    return queries.evaluations(session, found.digest)


def newest(
    session: Session, build: str, kind: str, images_sha256: str | None = None
) -> Evaluation | None:
    """The newest evaluation of a kind; over exactly these images where they are named."""
    return queries.newest(session, build, kind, images_sha256)


def seen_of(store: BlobStore, row: Evaluation) -> list[SeenImage]:
    """What was seen. Raises NotFoundError or InvalidError where the blob is gone or spoiled."""
    if row.predictions_sha256 is None:
        return []
    return predictions.decode(store.read(row.predictions_sha256))


def delete_of(session: Session, version: ModelVersion, builds: Sequence[Build]) -> None:
    """Remove the evaluations of builds that go; the registry's hook."""
    del version  # what counts are its builds
    for row in queries.of_builds(session, [build.digest for build in builds]):
        session.delete(row)
    session.flush()
