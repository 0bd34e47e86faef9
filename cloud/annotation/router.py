"""HTTP of annotation: /annotation/tasks."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from cloud.annotation import service
from cloud.annotation.schemas import AnnotationBody, RevisionView, TaskView
from cloud.annotation.service import BoxIn
from cloud.annotation.states import TaskState
from cloud.blobs import service as blobs
from cloud.blobs.router import BlobsDep
from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, page

router = APIRouter(prefix="/annotation/tasks", tags=["annotation"])


@router.get("")
def list_tasks(
    *,
    session: SessionDep,
    principal: PrincipalDep,
    state: TaskState | None = None,
    camera: str | None = None,
    cursor: int = 0,
    limit: LimitDep = 100,
) -> Page[TaskView]:
    rows = service.list_tasks(
        session, principal, state=state, camera=camera, after=cursor, limit=limit
    )
    items = [TaskView.of(row) for row in rows]
    return page(items, limit, str(items[-1].id) if items else "")


@router.get("/{task_id}")
def get_task(task_id: int, session: SessionDep, principal: PrincipalDep) -> TaskView:
    return TaskView.of(service.get_task(session, principal, task_id))


@router.get("/{task_id}/image")
def get_image(
    task_id: int, session: SessionDep, principal: PrincipalDep, store: BlobsDep
) -> Response:
    task = service.get_task(session, principal, task_id)
    row = blobs.get(session, task.image_sha256)
    return Response(store.read(row.sha256), media_type=row.media_type)


@router.get("/{task_id}/history")
def get_history(task_id: int, session: SessionDep, principal: PrincipalDep) -> Page[RevisionView]:
    rows = service.history(session, principal, task_id)
    return Page(items=[RevisionView(**r.model_dump(exclude={"id", "task_id"})) for r in rows])


@router.put("/{task_id}")
def annotate(
    task_id: int, body: AnnotationBody, session: SessionDep, principal: PrincipalDep
) -> TaskView:
    boxes = [BoxIn(b.class_id, b.box) for b in body.boxes]
    return TaskView.of(service.annotate(session, principal, task_id, boxes))


@router.post("/{task_id}/skip")
def skip(task_id: int, session: SessionDep, principal: PrincipalDep) -> TaskView:
    return TaskView.of(service.skip(session, principal, task_id))
