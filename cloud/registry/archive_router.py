"""HTTP of archives: a model out of one hub and into another, streamed both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import anyio.from_thread
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from cloud.access.principal import Role, require
from cloud.blobs.router import BlobsDep
from cloud.dependencies import DatabaseDep, PrincipalDep, SessionDep
from cloud.registry import archive, packing
from cloud.registry.archive import ArchivePart, ArchiveReader
from cloud.registry.packing import ArchiveLimits

MEDIA_TYPE = "application/x-tar"

archives = APIRouter(tags=["registry"])


class ImportedView(BaseModel):
    """What an archive brought; empty lists where all of it was there."""

    model: str
    versions: list[int]
    builds: list[str]


def _parts(request: Request) -> tuple[ArchivePart, ...]:
    """What the slices above add to an archive."""
    return tuple(getattr(request.app.state, "archive_parts", ()))


def _limits(request: Request) -> ArchiveLimits:
    limits: ArchiveLimits = getattr(request.app.state, "archive_limits", ArchiveLimits())
    return limits


PartsDep = Annotated[tuple[ArchivePart, ...], Depends(_parts)]
LimitsDep = Annotated[ArchiveLimits, Depends(_limits)]


@archives.get("/models/{name}/archive")
def export_model(
    name: str, session: SessionDep, principal: PrincipalDep, store: BlobsDep, parts: PartsDep
) -> StreamingResponse:
    """The model with all versions, builds and evidence, as one tar."""
    contents = archive.contents_of(session, principal, store, name, parts)
    return StreamingResponse(
        archive.stream(contents, store),
        media_type=MEDIA_TYPE,
        headers={
            "Content-Length": str(packing.packed_bytes(contents)),
            "Content-Disposition": f'attachment; filename="{name}.argosy.tar"',
        },
    )


@archives.post("/models/archive")
async def import_model(
    *,
    request: Request,
    database: DatabaseDep,
    principal: PrincipalDep,
    store: BlobsDep,
    parts: PartsDep,
    limits: LimitsDep,
) -> ImportedView:
    """Register the model of an archive, which is the request's body. Administrators only."""
    require(principal, Role.ADMINISTRATOR)
    hooks = (request.app.state.hub.trust.register_build,)
    reader = ArchiveReader(database, store, limits, hooks, parts)
    found = await run_in_threadpool(reader.take, principal, _Body(request.stream()))
    return ImportedView(model=found.model, versions=list(found.versions), builds=list(found.builds))


class _Body:
    """A request's body for a thread that reads it piece by piece, as it comes."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            piece = anyio.from_thread.run(self._next)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    async def _next(self) -> bytes | None:
        return await anext(self._pieces, None)
