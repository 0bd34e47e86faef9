"""HTTP of the registry: /models, /versions, /builds."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from cloud.blobs.router import BlobsDep
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.registry import service
from cloud.registry.models import ModelVersion
from cloud.registry.schemas import BuildView, ModelCreate, ModelView, RejectBody, VersionView

router = APIRouter(tags=["registry"])


def _view(session: Session, version: ModelVersion) -> VersionView:
    return VersionView.of(version, service.builds_of(session, version))


@router.post("/models", status_code=201)
def create_model(body: ModelCreate, session: SessionDep, principal: PrincipalDep) -> ModelView:
    model = service.create_model(session, principal, body.name, body.class_names)
    return ModelView(**model.model_dump())


@router.get("/models")
def list_models(
    session: SessionDep, principal: PrincipalDep, cursor: str | None = None, limit: LimitDep = 100
) -> Page[ModelView]:
    rows = service.list_models(session, principal, cursor, limit)
    items = [ModelView(**row.model_dump()) for row in rows]
    return page(items, limit, items[-1].name if items else "")


@router.get("/models/{name}")
def get_model(name: str, session: SessionDep, principal: PrincipalDep) -> ModelView:
    return ModelView(**service.get_model(session, principal, name).model_dump())


@router.get("/models/{name}/versions")
def list_versions(
    name: str,
    session: SessionDep,
    principal: PrincipalDep,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> Page[VersionView]:
    rows = service.list_versions(session, principal, name, cursor, limit)
    items = [_view(session, row) for row in rows]
    return page(items, limit, str(items[-1].number) if items else "")


@router.get("/models/{name}/versions/{number}")
def get_version(
    name: str, number: int, session: SessionDep, principal: PrincipalDep
) -> VersionView:
    return _view(session, service.get_version(session, principal, name, number))


@router.get("/versions/{name}/{number}/weights")
def get_weights(
    name: str, number: int, session: SessionDep, principal: PrincipalDep, store: BlobsDep
) -> StreamingResponse:
    """The version's PyTorch checkpoint."""
    version = service.weights(session, principal, name, number)
    return StreamingResponse(
        store.iterate(version.weights_sha256, 0, version.weights_bytes),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(version.weights_bytes),
            "Content-Disposition": f'attachment; filename="{name}-{number}.pt"',
        },
    )


@router.get("/builds/{digest}")
def get_build(digest: str, session: SessionDep, principal: PrincipalDep) -> BuildView:
    return BuildView(**service.get_build(session, principal, digest).model_dump())


@router.post("/builds/{digest}/reject")
def reject_build(
    digest: str, body: RejectBody, session: SessionDep, principal: PrincipalDep
) -> BuildView:
    build = service.reject_build(session, principal, digest, body.reason)
    return BuildView(**build.model_dump())


@router.post("/builds/{digest}/reinstate")
def reinstate_build(
    digest: str, body: RejectBody, session: SessionDep, principal: PrincipalDep
) -> BuildView:
    build = service.reinstate_build(session, principal, digest, body.reason)
    return BuildView(**build.model_dump())
