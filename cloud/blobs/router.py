"""HTTP of blobs: GET /blobs/{sha256}, whole or a range of it, and PUT of its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from anyio import CapacityLimiter, fail_after, from_thread, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect

from cloud.blobs import service
from cloud.blobs.schemas import BlobView, ByteRange, parse_range
from cloud.blobs.service import OCTETS
from cloud.blobs.store import BlobStore
from cloud.dependencies import DatabaseDep, PrincipalDep, SessionDep, SettingsDep
from cloud.errors import InvalidError

UPLOADS_AT_ONCE_MAX = 8
UPLOAD_SILENCE_MAX_S = 60.0
_uploads: RunVar[CapacityLimiter] = RunVar("uploads")

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


@router.put(
    "/blobs/{sha256}",
    status_code=201,
    responses={200: {"model": BlobView, "description": "the hub had it already"}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(
    sha256: DigestPath,
    *,
    request: Request,
    response: Response,
    database: DatabaseDep,
    principal: PrincipalDep,
    store: BlobsDep,
    settings: SettingsDep,
) -> BlobView:
    """Keep the body as the blob of that digest. What is cut off or other bytes leaves nothing."""
    service.check_upload(principal, settings.limits.blob_bytes_max, _length(request))
    row, is_new = await to_thread.run_sync(
        service.upload, database, store, principal, sha256, _pieces(request), limiter=_limiter()
    )
    response.status_code = 201 if is_new else 200
    return BlobView(**row.model_dump(include=set(BlobView.model_fields)))


def _length(request: Request) -> int | None:
    """What the request says of its body's size; the server has checked that it is a number."""
    given = request.headers.get("content-length")
    return int(given) if given is not None and given.isascii() and given.isdigit() else None


def _pieces(request: Request) -> Iterator[bytes]:
    """The request's body, for a thread that the event loop's runs beside."""
    stream = request.stream()

    async def following() -> bytes | None:
        with fail_after(UPLOAD_SILENCE_MAX_S):
            return await anext(stream, None)

    try:
        while (piece := from_thread.run(following)) is not None:
            yield piece
    except ClientDisconnect as error:
        raise InvalidError("the body was cut off", "send it again") from error
    except TimeoutError as error:
        raise InvalidError(
            f"no byte of the body came for {UPLOAD_SILENCE_MAX_S:.0f} s", "send it again"
        ) from error


def _limiter() -> CapacityLimiter:
    """Threads for uploads, of their own: slow senders must not take those of all others."""
    try:
        return _uploads.get()
    except LookupError:
        limiter = CapacityLimiter(UPLOADS_AT_ONCE_MAX)
        _uploads.set(limiter)
        return limiter
