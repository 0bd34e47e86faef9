"""HTTP of the registry: /models, /versions, /builds."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.blobs.router import BlobsDep
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page
from cloud.registry import service
from cloud.registry.archive_router import archives
from cloud.registry.history import PRODUCTION
from cloud.registry.keeping import OnVersionDeleted
from cloud.registry.models import DetectorModel, ModelVersion
from cloud.registry.schemas import (
    NUMBER_MAX,
    AliasBody,
    AliasView,
    ArtefactView,
    BuildView,
    DeletedView,
    FloorBody,
    HistoryEntry,
    ModelCreate,
    ModelView,
    NoteBody,
    NoteView,
    Number,
    OnBody,
    RejectBody,
    ResolutionView,
    VersionView,
)

router = APIRouter(tags=["registry"])
router.include_router(archives)


def _trust(request: Request) -> Any:
    """Who vouches for builds, with hooks of the registry; the slice is above this one."""
    return request.app.state.hub.trust


def _on_deleted(request: Request) -> tuple[OnVersionDeleted, ...]:
    """Who takes its rows away with a version's; the slices are above this one."""
    return tuple(getattr(request.app.state, "on_version_deleted", ()))


TrustDep = Annotated[Any, Depends(_trust)]
DeletedDep = Annotated[tuple[OnVersionDeleted, ...], Depends(_on_deleted)]


def _model(session: Session, principal: Principal, model: DetectorModel) -> ModelView:
    return ModelView.of(model, service.aliases(session, principal, model.name))


def _view(session: Session, principal: Principal, version: ModelVersion) -> VersionView:
    return VersionView.of(
        version,
        service.builds_of(session, version),
        service.floor(session, version.model),
        service.aliases(session, principal, version.model),
    )


@router.post("/models", status_code=201)
def create_model(body: ModelCreate, session: SessionDep, principal: PrincipalDep) -> ModelView:
    model = service.create_model(session, principal, body.name, body.class_names)
    return _model(session, principal, model)


@router.get("/models")
def list_models(
    *,
    session: SessionDep,
    principal: PrincipalDep,
    cursor: str | None = None,
    limit: LimitDep = 100,
    archived: bool = False,
) -> Page[ModelView]:
    """Models by name; with `archived` those that were put away too."""
    rows = service.list_models(session, principal, cursor, limit, archived=archived)
    items = [_model(session, principal, row) for row in rows]
    return page(items, limit, items[-1].name if items else "")


@router.get("/models/{name}")
def get_model(name: str, session: SessionDep, principal: PrincipalDep) -> ModelView:
    return _model(session, principal, service.get_model(session, principal, name))


@router.delete("/models/{name}")
def delete_model(
    name: str, session: SessionDep, principal: PrincipalDep, hooks: DeletedDep
) -> DeletedView:
    service.delete_model(session, principal, name, hooks)
    return DeletedView(deleted=f"model/{name}")


@router.post("/models/{name}/archived")
def archive_model(
    name: str, body: OnBody, session: SessionDep, principal: PrincipalDep
) -> ModelView:
    """Put a model away, or bring it back."""
    model = service.archive_model(session, principal, name, archived=body.on)
    return _model(session, principal, model)


@router.get("/models/{name}/aliases")
def list_aliases(name: str, session: SessionDep, principal: PrincipalDep) -> list[AliasView]:
    rows = service.aliases(session, principal, name)
    return [AliasView(**row.model_dump()) for row in rows]


@router.put("/models/{name}/aliases/{alias}")
def set_alias(
    name: str, alias: str, body: AliasBody, session: SessionDep, principal: PrincipalDep
) -> list[AliasView]:
    """Point an alias at a version by hand, without a gate; null takes it away. For
    `production`, which a gate guards, that needs a reason."""
    service.set_alias(
        session, principal, name, alias, body.number, forced=alias == PRODUCTION, reason=body.reason
    )
    return list_aliases(name, session, principal)


@router.put("/models/{name}/floor")
def set_floor(
    name: str, body: FloorBody, session: SessionDep, principal: PrincipalDep, trust: TrustDep
) -> ModelView:
    """Revoke every version below; lowering is an administrator's, with a reason."""
    hooks = (trust.set_floor,)
    model = service.set_floor(session, principal, name, body.floor, reason=body.reason, hooks=hooks)
    return _model(session, principal, model)


@router.get("/models/{name}/history")
def history(name: str, session: SessionDep, principal: PrincipalDep) -> list[HistoryEntry]:
    """Promotions, deployments and moves of the floor, oldest first."""
    return [HistoryEntry(**entry) for entry in service.timeline(session, principal, name)]


@router.get("/models/{name}/notes")
def model_notes(name: str, session: SessionDep, principal: PrincipalDep) -> list[NoteView]:
    return _notes(session, principal, f"model/{name}")


@router.post("/models/{name}/notes", status_code=201)
def add_model_note(
    name: str, body: NoteBody, session: SessionDep, principal: PrincipalDep
) -> NoteView:
    note = service.add_note(session, principal, f"model/{name}", body.text)
    return NoteView(**note.model_dump())


@router.get("/models/{name}/versions")
def list_versions(
    *,
    name: str,
    session: SessionDep,
    principal: PrincipalDep,
    cursor: Annotated[int, Query(ge=0, le=NUMBER_MAX)] = 0,
    limit: LimitDep = 100,
    archived: bool = False,
) -> Page[VersionView]:
    """Versions by number; with `archived` those that were put away too."""
    rows = service.list_versions(session, principal, name, cursor, limit, archived=archived)
    items = [_view(session, principal, row) for row in rows]
    return page(items, limit, str(items[-1].number) if items else "")


@router.get("/models/{name}/versions/{number}")
def get_version(
    name: str, number: Number, session: SessionDep, principal: PrincipalDep
) -> VersionView:
    return _view(session, principal, service.get_version(session, principal, name, number))


@router.delete("/models/{name}/versions/{number}")
def delete_version(
    name: str, number: Number, session: SessionDep, principal: PrincipalDep, hooks: DeletedDep
) -> DeletedView:
    service.delete_version(session, principal, name, number, hooks)
    return DeletedView(deleted=f"model/{name}/{number}")


@router.post("/models/{name}/versions/{number}/pin")
def pin(
    name: str, number: Number, body: OnBody, session: SessionDep, principal: PrincipalDep
) -> VersionView:
    """Keep a version whatever asks for its deletion, or let it go again."""
    version = service.pin(session, principal, name, number, pinned=body.on)
    return _view(session, principal, version)


@router.post("/models/{name}/versions/{number}/archived")
def archive_version(
    name: str, number: Number, body: OnBody, session: SessionDep, principal: PrincipalDep
) -> VersionView:
    """Put a version away, or bring it back."""
    version = service.archive_version(session, principal, name, number, archived=body.on)
    return _view(session, principal, version)


@router.get("/models/{name}/versions/{number}/card", response_class=PlainTextResponse)
def card(
    name: str, number: Number, session: SessionDep, principal: PrincipalDep
) -> PlainTextResponse:
    """The version's model card, as Markdown."""
    text = service.model_card(session, principal, name, number)
    return PlainTextResponse(text, media_type="text/markdown; charset=utf-8")


@router.get("/models/{name}/versions/{number}/resolve")
def resolve(
    name: str, number: Number, device: str, session: SessionDep, principal: PrincipalDep
) -> ResolutionView:
    """The build of a version that a device would get, its fallbacks, and why not the others."""
    found, offers, heard = service.resolve_for(session, principal, name, number, device)
    return ResolutionView.of(device, found, offers, heard=heard)


@router.get("/models/{name}/versions/{number}/notes")
def version_notes(
    name: str, number: Number, session: SessionDep, principal: PrincipalDep
) -> list[NoteView]:
    return _notes(session, principal, f"model/{name}/{number}")


@router.post("/models/{name}/versions/{number}/notes", status_code=201)
def add_version_note(
    name: str, number: Number, body: NoteBody, session: SessionDep, principal: PrincipalDep
) -> NoteView:
    note = service.add_note(session, principal, f"model/{name}/{number}", body.text)
    return NoteView(**note.model_dump())


@router.get("/models/{name}/versions/{number}/artefacts")
def list_artefacts(
    name: str, number: Number, session: SessionDep, principal: PrincipalDep
) -> list[ArtefactView]:
    rows = service.artefacts(session, principal, name, number)
    return [ArtefactView(**row.model_dump()) for row in rows]


@router.get("/models/{name}/versions/{number}/artefacts/{artefact}")
def get_artefact(
    *,
    name: str,
    number: Number,
    artefact: str,
    session: SessionDep,
    principal: PrincipalDep,
    store: BlobsDep,
) -> StreamingResponse:
    """A file that is kept with the version; never shown by a browser as a page."""
    row = service.artefact(session, principal, name, number, artefact)
    return StreamingResponse(
        store.iterate(row.sha256, 0, row.size_bytes),
        media_type=row.media_type,
        headers={
            "Content-Length": str(row.size_bytes),
            "Content-Disposition": f'attachment; filename="{row.name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get("/versions/{name}/{number}/weights")
def get_weights(
    name: str, number: Number, session: SessionDep, principal: PrincipalDep, store: BlobsDep
) -> StreamingResponse:
    """The version's weights: a PyTorch checkpoint, or the ONNX file that was brought."""
    version = service.weights(session, principal, name, number)
    filename = f"{name}-{number}.{version.weights_format}"
    return StreamingResponse(
        store.iterate(version.weights_sha256, 0, version.weights_bytes),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(version.weights_bytes),
            "Content-Disposition": f'attachment; filename="{filename}"',
        },
    )


@router.get("/builds/{digest}")
def get_build(digest: str, session: SessionDep, principal: PrincipalDep) -> BuildView:
    build = service.get_build(session, principal, digest)
    return BuildView.of(build, service.floor(session, build.model))


@router.post("/builds/{digest}/reject")
def reject_build(
    digest: str, body: RejectBody, session: SessionDep, principal: PrincipalDep
) -> BuildView:
    build = service.reject_build(session, principal, digest, body.reason)
    return BuildView.of(build, service.floor(session, build.model))


@router.post("/builds/{digest}/reinstate")
def reinstate_build(
    digest: str, body: RejectBody, session: SessionDep, principal: PrincipalDep, trust: TrustDep
) -> BuildView:
    hooks = (trust.reinstate_build,)
    build = service.reinstate_build(session, principal, digest, body.reason, hooks)
    return BuildView.of(build, service.floor(session, build.model))


def _notes(session: Session, principal: Principal, subject: str) -> list[NoteView]:
    return [NoteView(**row.model_dump()) for row in service.notes(session, principal, subject)]
