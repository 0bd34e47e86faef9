"""HTTP of GPU workers: /worker. All but a look at it takes an administrator's token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

from anyio import fail_after, to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.building.worker_desk import Desk
from cloud.building.worker_schemas import (
    Claim,
    DeskView,
    OutputName,
    TaskFailure,
    TaskId,
    TaskProgress,
    TaskWanted,
    WorkerHello,
)
from cloud.dependencies import PrincipalDep, SessionDep
from cloud.errors import InvalidError, NotFoundError, StorageError, TooLargeError
from protocol.chunks import Sha256

PIECE_BYTES = 256 * 1024
SILENCE_MAX_S = 60.0

router = APIRouter(prefix="/worker", tags=["worker"])


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def administrator(principal: PrincipalDep) -> Principal:
    """What a worker brings is executable and judges builds, so nobody below may be one."""
    require(principal, Role.ADMINISTRATOR)
    return principal


DeskDep = Annotated[Desk, Depends(desk_of)]
AdministratorDep = Annotated[Principal, Depends(administrator)]
LeaseQuery = Annotated[str, Query(min_length=1, max_length=64)]


@router.get("")
def look(principal: PrincipalDep, desk: DeskDep) -> DeskView:
    """Workers that were heard of since the hub started, and tasks that are not done."""
    require(principal, Role.VIEWER)
    return desk.view()


@router.post("/claim")
def claim(hello: WorkerHello, principal: AdministratorDep, desk: DeskDep) -> Claim:
    """Take the task that has waited longest of those that the worker's machine can do."""
    del principal  # was looked at
    task, unfit = desk.claim(hello)
    return Claim(task=task, unfit=unfit)


@router.post("/tasks/{task_id}/progress")
def progress(
    task_id: TaskId,
    lease: LeaseQuery,
    body: TaskProgress,
    principal: AdministratorDep,
    desk: DeskDep,
) -> TaskWanted:
    """Say how far it is, and keep the task."""
    del principal
    desk.renew(task_id, lease, body)
    return TaskWanted(wanted=True)


@router.get("/tasks/{task_id}/files/{sha256}")
def fetch(
    task_id: TaskId, sha256: Sha256, lease: LeaseQuery, principal: AdministratorDep, desk: DeskDep
) -> StreamingResponse:
    """A file that the task's order names."""
    del principal
    try:
        file = desk.file(task_id, lease, sha256).open("rb")
        size_bytes = file.seek(0, 2)
        file.seek(0)
    except OSError as error:
        raise NotFoundError(f"the file {sha256[:12]} is gone", "ask for another task") from error
    return StreamingResponse(
        _renewing(desk, task_id, lease, file),
        media_type="application/octet-stream",
        headers={"Content-Length": str(size_bytes)},
    )


def _renewing(desk: Desk, task_id: str, lease: str, file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes; who takes them is alive."""
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            desk.renew(task_id, lease)


@router.put("/tasks/{task_id}/outputs/{name}")
async def bring(
    task_id: TaskId,
    name: OutputName,
    *,
    lease: LeaseQuery,
    sha256: Annotated[Sha256, Query()],
    request: Request,
    principal: AdministratorDep,
    desk: DeskDep,
) -> TaskWanted:
    """Take the body as one of the task's outputs; what is cut off or other bytes leaves nothing."""
    del principal
    partial, bytes_max = desk.place(task_id, lease, name)
    try:
        found = await _receive(request, partial, bytes_max, lambda: desk.renew(task_id, lease))
        if found != sha256:
            raise InvalidError(f"the body is {found[:12]}, not {sha256[:12]}", "send it again")
        await to_thread.run_sync(desk.keep, task_id, lease, name, partial)
    except FileNotFoundError as error:  # the folder went with the job
        raise NotFoundError(f"there is no task {task_id}", "ask for another") from error
    except OSError as error:
        raise StorageError(
            f"the hub's disk failed: {error.strerror}", "free space there"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return TaskWanted(wanted=True)


async def _receive(
    request: Request, partial: Path, bytes_max: int, renew: Callable[[], None]
) -> str:
    """Write the body to `partial`; its digest."""
    digest, size_bytes, stream = hashlib.sha256(), 0, request.stream()
    try:
        with partial.open("wb") as file:
            while True:
                with fail_after(SILENCE_MAX_S):
                    piece = await anext(stream, None)
                if piece is None:
                    return digest.hexdigest()
                size_bytes += len(piece)
                if size_bytes > bytes_max:
                    raise TooLargeError(f"the body is over {bytes_max} bytes", "send less")
                digest.update(piece)
                await to_thread.run_sync(file.write, piece)
                renew()
    except ClientDisconnect as error:
        raise InvalidError("the body was cut off", "send it again") from error
    except TimeoutError as error:
        raise InvalidError(f"no byte came for {SILENCE_MAX_S:.0f} s", "send it again") from error


@router.post("/tasks/{task_id}/result")
def finish(
    task_id: TaskId,
    lease: LeaseQuery,
    principal: AdministratorDep,
    desk: DeskDep,
    session: SessionDep,
) -> TaskWanted:
    """The task is done; all of its outputs were brought."""
    desk.finish(task_id, lease)
    access.audit(session, principal, "worker.result", f"task/{task_id}")
    return TaskWanted(wanted=False)


@router.post("/tasks/{task_id}/failure")
def fail(
    task_id: TaskId,
    *,
    lease: LeaseQuery,
    body: TaskFailure,
    principal: AdministratorDep,
    desk: DeskDep,
    session: SessionDep,
) -> TaskWanted:
    """The worker has no result."""
    desk.fail(task_id, lease, body.message, again=body.again)
    access.audit(
        session, principal, "worker.failure", f"task/{task_id}", message=body.message[:400]
    )
    return TaskWanted(wanted=False)
