"""HTTP of telemetry: windows, series, events, samples, and the device's own side."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from cloud.access.principal import Role, require, require_device
from cloud.blobs.router import BlobsDep, DigestPath
from cloud.dependencies import (
    DatabaseDep,
    LimitDep,
    Page,
    PrincipalDep,
    SessionDep,
    SettingsDep,
    page,
)
from cloud.errors import TooLargeError
from cloud.inbound import Counters
from cloud.telemetry import samples, service
from cloud.telemetry.samples import SampleStore
from cloud.telemetry.schemas import (
    EventView,
    IngestCounters,
    LinkView,
    SampleView,
    StoredImage,
    Summary,
    WindowView,
)

router = APIRouter(tags=["telemetry"])
REFUSED_PREFIX = "refused."


@router.get("/telemetry/windows")
def list_windows(
    *,
    session: SessionDep,
    principal: PrincipalDep,
    device: str | None = None,
    camera: str | None = None,
    since: float = 0.0,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> Page[WindowView]:
    rows = service.list_windows(
        session,
        principal,
        device_id=device,
        camera=camera,
        since=since,
        after=cursor,
        limit=limit,
    )
    items = [WindowView.of(row) for row in rows]
    return page(items, limit, str(items[-1].id) if items else "")


@router.get("/telemetry/summary")
def summarise(
    *,
    session: SessionDep,
    principal: PrincipalDep,
    device: str | None = None,
    camera: str | None = None,
    since: float = 0.0,
    bucket_s: Annotated[float, Query(gt=0, le=31_536_000)] = 60.0,
    limit: LimitDep = 1000,
) -> Summary:
    points = service.summarise(
        session,
        principal,
        device_id=device,
        camera=camera,
        since=since,
        bucket_s=bucket_s,
        limit=limit,
    )
    return Summary(bucket_s=bucket_s, items=points)


@router.get("/events")
def list_events(
    *,
    session: SessionDep,
    principal: PrincipalDep,
    device: str | None = None,
    kind: str | None = None,
    since: float = 0.0,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> Page[EventView]:
    rows = service.list_events(
        session, principal, device_id=device, kind=kind, since=since, after=cursor, limit=limit
    )
    items = [EventView.of(row) for row in rows]
    return page(items, limit, str(items[-1].id) if items else "")


@router.get("/samples")
def list_samples(
    *,
    session: SessionDep,
    principal: PrincipalDep,
    device: str | None = None,
    camera: str | None = None,
    since: float = 0.0,
    cursor: str | None = None,
    limit: LimitDep = 100,
) -> Page[SampleView]:
    rows = service.list_samples(
        session,
        principal,
        device_id=device,
        camera=camera,
        since=since,
        after=cursor,
        limit=limit,
    )
    items = [SampleView.of(row) for row in rows]
    return page(items, limit, items[-1].id if items else "")


@router.get("/samples/{sample_id}/image")
def get_image(
    sample_id: str, session: SessionDep, principal: PrincipalDep, store: BlobsDep
) -> Response:
    data, media_type = samples.get_image(session, principal, store, sample_id)
    return Response(data, media_type=media_type)


@router.get("/ingest/counters")
def ingest_counters(request: Request, principal: PrincipalDep) -> IngestCounters:
    require(principal, Role.VIEWER)
    counters: Counters = request.app.state.counters
    counts = counters.snapshot()
    named = {name: counts.pop(name, 0) for name in ("messages", "stored", "duplicates")}
    refused = {
        name.removeprefix(REFUSED_PREFIX): number
        for name, number in counts.items()
        if name.startswith(REFUSED_PREFIX)
    }
    other = {n: number for n, number in counts.items() if not n.startswith(REFUSED_PREFIX)}
    depth: int = request.app.state.hub.writer.depth
    return IngestCounters(**named, refused=refused, other=other, queue=depth)


@router.put("/device/samples/{sha256}")
async def put_image(
    sha256: DigestPath,
    request: Request,
    principal: PrincipalDep,
    database: DatabaseDep,
    settings: SettingsDep,
) -> StoredImage:
    """A sample's image, before the report that names it."""
    data = await _read_body(request, settings.limits.sample_bytes_max)
    store: SampleStore = request.app.state.samples
    counters: Counters = request.app.state.counters

    def put() -> StoredImage:
        with database.transaction() as session:
            ref, tally = store.put_image(session, principal, sha256, data, time.time())
        counters.add(tally)
        return StoredImage(sha256=ref.sha256, size_bytes=ref.size_bytes)

    return await run_in_threadpool(put)


@router.get("/device/link")
def get_link(request: Request, principal: PrincipalDep) -> LinkView:
    """Where devices find the broker; a device or an operator may ask."""
    if principal.role < Role.OPERATOR:
        require_device(principal)
    link: LinkView = request.app.state.link
    return link


async def _read_body(request: Request, bytes_max: int) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > bytes_max:
            raise TooLargeError(f"the body is over {bytes_max} bytes", "send a smaller image")
    return bytes(body)
