"""Verbs of datasets."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.blobs import service as blobs
from cloud.blobs.store import BlobStore
from cloud.datasets import manifest as manifests
from cloud.datasets import queries
from cloud.datasets.disjoint import check_disjoint, near_across
from cloud.datasets.manifest import DatasetManifest, Item
from cloud.datasets.models import Dataset, DatasetImport, DatasetVersion
from cloud.datasets.splits import LeftOut, Split
from cloud.datasets.states import IMPORT_TABLE, ImportEvent, ImportState
from cloud.errors import ConflictError, NotFoundError
from protocol.chunks import describe
from protocol.machine import advance

# What a version holds, for the slices above, which use this one through its service.
__all__ = ["DatasetManifest", "Item", "LeftOut", "Split", "check_disjoint", "near_across"]


def get_dataset(session: Session, principal: Principal, name: str) -> Dataset:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    dataset = session.get(Dataset, name)
    if dataset is None:
        raise NotFoundError(
            f"there is no dataset {name}", f"`argosy dataset import {name} FOLDER` makes it"
        )
    return dataset


def list_datasets(
    session: Session, principal: Principal, after: str | None, limit: int
) -> Sequence[Dataset]:
    require(principal, Role.VIEWER)
    return queries.datasets(session, after, limit)


def list_versions(
    session: Session, principal: Principal, name: str, after: int, limit: int
) -> Sequence[DatasetVersion]:
    get_dataset(session, principal, name)
    return queries.versions(session, name, after, limit)


def get_version(
    session: Session, principal: Principal, name: str, number: int | None = None
) -> DatasetVersion:
    """Version `number`, or the newest. Raises NotFoundError where there is none."""
    get_dataset(session, principal, name)
    found = (
        queries.newest_version(session, name)
        if number is None
        else queries.version(session, name, number)
    )
    if found is None:
        raise NotFoundError(
            f"dataset {name} has no version {number or 'yet'}",
            f"`argosy dataset show {name}` lists them",
        )
    return found


def read_manifest(store: BlobStore, version: DatasetVersion) -> DatasetManifest:
    """Everything that the version holds."""
    return manifests.read(store.read(version.digest))


def register_version(
    session: Session,
    principal: Principal,
    name: str,
    manifest: DatasetManifest,
    left_out: Sequence[LeftOut],
    *,
    parent: int | None = None,
    golden_frames_released: bool | None = None,
) -> DatasetVersion:
    """The version that holds `manifest`: a new one, or the newest where it holds the same.

    The images and the manifest are in the blob store already.

    Raises:
        ConflictError: the dataset's classes are others.
    """
    require(principal, Role.OPERATOR)
    now = time.time()
    dataset = session.get(Dataset, name)
    if dataset is None:
        dataset = Dataset(name=name, created_at=now, created_by=principal.name)
    if golden_frames_released is not None:
        dataset.golden_frames_released = golden_frames_released
    session.add(dataset)
    session.flush()
    newest = queries.newest_version(session, name)
    if newest is not None:
        _check_classes(newest, manifest)
    ref = describe(manifests.canonical(manifest))
    if newest is not None and newest.digest == ref.sha256:
        return newest
    version = DatasetVersion(
        dataset=name,
        number=1 if newest is None else newest.number + 1,
        digest=blobs.record(session, ref, "application/json").sha256,
        parent=parent,
        class_names=list(manifest.class_names),
        counts=manifest.counts(),
        left_out=[asdict(entry) for entry in left_out],
        created_at=now,
        created_by=principal.name,
    )
    session.add(version)
    access.audit(
        session, principal, "dataset.version", f"dataset/{name}/{version.number}", **version.counts
    )
    session.flush()
    return version


def request_import(
    session: Session,
    principal: Principal,
    name: str,
    folder: str,
    *,
    model: str | None = None,
    golden_frames_released: bool = False,
) -> DatasetImport:
    """An import for the importer to run."""
    require(principal, Role.OPERATOR)
    row = DatasetImport(
        id=uuid.uuid4().hex,
        dataset=name,
        folder=folder,
        model=model,
        golden_frames_released=golden_frames_released,
        state=ImportState.QUEUED.value,
        created_at=time.time(),
        created_by=principal.name,
    )
    session.add(row)
    access.audit(session, principal, "dataset.import", f"dataset/{name}", folder=folder)
    session.flush()
    return row


def get_import(session: Session, principal: Principal, import_id: str) -> DatasetImport:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    row = session.get(DatasetImport, import_id)
    if row is None:
        raise NotFoundError(f"there is no import {import_id}", "check the id")
    return row


def list_imports(
    session: Session, principal: Principal, after: float | None, limit: int
) -> Sequence[DatasetImport]:
    require(principal, Role.VIEWER)
    return queries.imports(session, after, limit)


def move_import(row: DatasetImport, event: ImportEvent) -> None:
    """Raises IllegalEvent where the import does not take the event."""
    row.state = advance(IMPORT_TABLE, ImportState(row.state), event).value
    if event is not ImportEvent.STARTED:
        row.ended_at = time.time()


def fail_unfinished_imports(session: Session) -> None:
    """Imports that a stop of the hub cut off: they left nothing, so they are just failed."""
    for row in queries.unfinished_imports(session):
        move_import(row, ImportEvent.ERROR)
        row.error = "the hub stopped during the import; nothing was registered: import again"
        session.add(row)


def _check_classes(newest: DatasetVersion, manifest: DatasetManifest) -> None:
    if newest.class_names != list(manifest.class_names):
        raise ConflictError(
            f"dataset {newest.dataset} has the classes {', '.join(newest.class_names)}, this "
            f"folder {', '.join(manifest.class_names)}",
            "import it under another name",
        )
