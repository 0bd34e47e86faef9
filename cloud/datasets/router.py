"""HTTP of datasets: /datasets and /imports."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from cloud.blobs.router import BlobsDep
from cloud.database import after_commit
from cloud.datasets import service
from cloud.datasets.extension import Extension, extend
from cloud.datasets.importer import Importer
from cloud.datasets.limits import image_limits, split_rules
from cloud.datasets.models import DatasetVersion
from cloud.datasets.schemas import (
    DatasetName,
    DatasetView,
    ImportBody,
    ImportView,
    TagView,
    VersionCreate,
    VersionView,
)
from cloud.dependencies import (
    DatabaseDep,
    LimitDep,
    Page,
    PrincipalDep,
    SessionDep,
    SettingsDep,
    page,
)

router = APIRouter(tags=["datasets"])

TAG_VALUES_MAX = 100
"""Told of one tag; an import may give each image a value of its own."""


def importer_of(request: Request) -> Importer:
    importer: Importer = request.app.state.importer
    return importer


ImporterDep = Annotated[Importer, Depends(importer_of)]
NamePath = Annotated[DatasetName, Path()]


def _view(version: DatasetVersion) -> VersionView:
    return VersionView(**version.model_dump(exclude={"id", "dataset"}), name=version.dataset)


@router.post("/datasets/{name}/import", status_code=202)
def import_folder(
    name: NamePath,
    body: ImportBody,
    session: SessionDep,
    principal: PrincipalDep,
    importer: ImporterDep,
) -> ImportView:
    row = service.request_import(
        session,
        principal,
        name,
        body.folder,
        model=body.model,
        golden_frames_released=body.golden_frames_released,
    )
    after_commit(session, lambda: importer.submit(row.id))
    return ImportView(**row.model_dump())


@router.get("/imports")
def list_imports(
    session: SessionDep,
    principal: PrincipalDep,
    cursor: float | None = None,
    limit: LimitDep = 100,
) -> Page[ImportView]:
    rows = service.list_imports(session, principal, cursor, limit)
    items = [ImportView(**row.model_dump()) for row in rows]
    return page(items, limit, repr(items[-1].created_at) if items else "")


@router.get("/imports/{import_id}")
def get_import(import_id: str, session: SessionDep, principal: PrincipalDep) -> ImportView:
    return ImportView(**service.get_import(session, principal, import_id).model_dump())


@router.get("/datasets")
def list_datasets(
    session: SessionDep, principal: PrincipalDep, cursor: str | None = None, limit: LimitDep = 100
) -> Page[DatasetView]:
    rows = service.list_datasets(session, principal, cursor, limit)
    items = [DatasetView(**row.model_dump()) for row in rows]
    return page(items, limit, items[-1].name if items else "")


@router.get("/datasets/{name}/versions")
def list_versions(
    name: NamePath,
    session: SessionDep,
    principal: PrincipalDep,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> Page[VersionView]:
    rows = service.list_versions(session, principal, name, cursor, limit)
    items = [_view(row) for row in rows]
    return page(items, limit, str(items[-1].number) if items else "")


@router.get("/datasets/{name}/versions/{number}")
def get_version(
    name: NamePath, number: int, session: SessionDep, principal: PrincipalDep
) -> VersionView:
    return _view(service.get_version(session, principal, name, number))


@router.get("/datasets/{name}/versions/{number}/tags")
def list_tags(
    name: NamePath, number: int, database: DatabaseDep, principal: PrincipalDep, store: BlobsDep
) -> Page[TagView]:
    """Counted in the manifest, which is read whole: not for polling."""
    with database.reading() as session:
        version = service.get_version(session, principal, name, number)
    counts = service.read_manifest(store, version).tag_counts()
    return Page(
        items=[
            TagView(
                tag=tag,
                images=values.total(),
                values=len(values),
                counts=dict(values.most_common(TAG_VALUES_MAX)),
            )
            for tag, values in counts.items()
        ]
    )


@router.post("/datasets/{name}/versions", status_code=201)
def create_version(
    name: NamePath,
    *,
    body: VersionCreate,
    database: DatabaseDep,
    principal: PrincipalDep,
    store: BlobsDep,
    settings: SettingsDep,
) -> VersionView:
    extension = Extension(body.parent, tuple(body.cameras), body.repeat)
    version = extend(
        database,
        store,
        principal,
        name,
        extension,
        rules=split_rules(settings.datasets),
        limits=image_limits(settings.datasets),
    )
    return _view(version)
