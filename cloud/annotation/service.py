"""Verbs of annotation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.annotation import queries
from cloud.annotation.models import AnnotationRevision, AnnotationTask
from cloud.annotation.states import TASK_TABLE, TaskEvent, TaskState
from cloud.errors import InvalidError, NotFoundError
from protocol.machine import advance

BOXES_MAX = 1000
OUTSIDE_PX_MAX = 2.0


@dataclass(frozen=True)
class SampleIn:
    """An image that came back, with what the build saw in it.

    Attributes:
        slot: the slot it ran in, which is the model's name.
        predictions: [{"class_id", "confidence", "box": [x1, y1, x2, y2]}] in pixels.
    """

    sample_id: str
    device_id: str
    camera: str
    slot: str
    frame_id: str
    image_sha256: str
    width: int
    height: int
    class_names: tuple[str, ...]
    predictions: tuple[dict[str, Any], ...]
    reason: str
    selection_probability: float
    captured_at: float | None = None


@dataclass(frozen=True)
class BoxIn:
    """A box that somebody drew: (x1, y1, x2, y2) in pixels of the image."""

    class_id: int
    box: tuple[float, float, float, float]


def enqueue_sample(session: Session, sample: SampleIn) -> AnnotationTask:
    """A task for the sample; the one that exists where it was enqueued before."""
    known = queries.task_of_sample(session, sample.sample_id)
    if known is not None:
        return known
    now = time.time()
    task = AnnotationTask(
        **{
            **vars(sample),
            "class_names": list(sample.class_names),
            "predictions": list(sample.predictions),
        },
        state=TaskState.PENDING.value,
        created_at=now,
        updated_at=now,
    )
    session.add(task)
    session.flush()
    return task


def list_tasks(
    session: Session,
    principal: Principal,
    *,
    state: TaskState | None = None,
    camera: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> Sequence[AnnotationTask]:
    require(principal, Role.ANNOTATOR)
    return queries.tasks(session, state, camera, after, limit)


def get_task(session: Session, principal: Principal, task_id: int) -> AnnotationTask:
    """Raises NotFoundError where there is none."""
    require(principal, Role.ANNOTATOR)
    task = session.get(AnnotationTask, task_id)
    if task is None:
        raise NotFoundError(
            f"there is no annotation task {task_id}", "`argosy annotate list` shows them"
        )
    return task


def history(session: Session, principal: Principal, task_id: int) -> Sequence[AnnotationRevision]:
    """Who said what of the task's image, oldest first."""
    get_task(session, principal, task_id)
    return queries.revisions(session, task_id)


def annotate(
    session: Session, principal: Principal, task_id: int, boxes: Sequence[BoxIn]
) -> AnnotationTask:
    """Label the image. Saying the same again changes nothing; saying otherwise revises.

    Raises:
        InvalidError: a box is none, of an unknown class, or outside of the image.
    """
    task = get_task(session, principal, task_id)
    if len(boxes) > BOXES_MAX:
        raise InvalidError(f"{len(boxes)} boxes are over {BOXES_MAX}", "draw fewer")
    rows = [_checked(task, number, box) for number, box in enumerate(boxes)]
    return _revise(session, principal, task, TaskEvent.ANNOTATED, rows)


def skip(session: Session, principal: Principal, task_id: int) -> AnnotationTask:
    """Set the image aside: it joins no dataset."""
    task = get_task(session, principal, task_id)
    return _revise(session, principal, task, TaskEvent.SKIP_REQUESTED, None)


def done_tasks(session: Session, cameras: Sequence[str] = ()) -> Sequence[AnnotationTask]:
    """All labelled tasks, for a dataset to take in."""
    return queries.done_tasks(session, cameras)


def _revise(
    session: Session,
    principal: Principal,
    task: AnnotationTask,
    event: TaskEvent,
    boxes: list[dict[str, Any]] | None,
) -> AnnotationTask:
    state = advance(TASK_TABLE, TaskState(task.state), event)
    if task.state == state.value and task.boxes == boxes:
        return task
    now = time.time()
    task.state, task.boxes = state.value, boxes
    task.annotated_by, task.updated_at = principal.name, now
    assert task.id is not None  # noqa: S101 - it came from the database
    session.add(task)
    session.add(
        AnnotationRevision(
            task_id=task.id, at=now, principal=principal.name, state=state.value, boxes=boxes
        )
    )
    access.audit(
        session, principal, f"annotation.{event.value}", f"annotation/{task.id}",
        boxes=None if boxes is None else len(boxes),
    )  # fmt: skip
    session.flush()
    return task


def _checked(task: AnnotationTask, number: int, drawn: BoxIn) -> dict[str, Any]:
    """The box as it is stored, cut to the image."""
    if not 0 <= drawn.class_id < len(task.class_names):
        raise InvalidError(
            f"box {number}: class {drawn.class_id} is out of range",
            f"the classes are 0 to {len(task.class_names) - 1}: {', '.join(task.class_names)}",
        )
    x1, y1, x2, y2 = drawn.box
    tolerance = OUTSIDE_PX_MAX
    inside = (
        -tolerance <= x1 < x2 <= task.width + tolerance
        and -tolerance <= y1 < y2 <= task.height + tolerance
    )
    cut = [max(0.0, x1), max(0.0, y1), min(float(task.width), x2), min(float(task.height), y2)]
    if not inside or cut[0] >= cut[2] or cut[1] >= cut[3]:
        raise InvalidError(
            f"box {number}: [{x1:g}, {y1:g}, {x2:g}, {y2:g}] is not x1 < x2, y1 < y2 inside of "
            f"{task.width}x{task.height} px",
            "give corners in pixels of the image",
        )
    return {"class_id": drawn.class_id, "box": cut}
