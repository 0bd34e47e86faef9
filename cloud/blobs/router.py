"""HTTP of blobs: GET /blobs/{sha256}, whole or a range of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response, StreamingResponse

from cloud.blobs import service
from cloud.blobs.schemas import ByteRange, parse_range
from cloud.blobs.store import BlobStore
from cloud.dependencies import PrincipalDep, SessionDep

router = APIRouter(tags=["blobs"])


def blobs_of(request: Request) -> BlobStore:
    store: BlobStore = request.app.state.blobs
    return store


BlobsDep = Annotated[BlobStore, Depends(blobs_of)]
DigestPath = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@router.get("/blobs/{sha256}", responses={206: {"description": "the range asked for"}})
def fetch(
    sha256: DigestPath,
    session: SessionDep,
    principal: PrincipalDep,
    store: BlobsDep,
    range_header: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """The blob's bytes; with a Range header of one range, those bytes with status 206."""
    row = service.fetch(session, principal, sha256)
    part = parse_range(range_header, row.size_bytes)
    whole = part or ByteRange(0, row.size_bytes, row.size_bytes)
    headers = {
        "Content-Length": str(whole.length),
        "Accept-Ranges": "bytes",
        "ETag": f'"{sha256}"',
    }
    if part is not None:
        headers["Content-Range"] = part.content_range
    return StreamingResponse(
        store.iterate(sha256, whole.start, whole.length),
        status_code=200 if part is None else 206,
        media_type=row.media_type,
        headers=headers,
    )
