"""How an annotation task moves: labelled or skipped, and labelled anew at any time."""

from __future__ import annotations

from enum import Enum


class TaskState(str, Enum):
    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"


class TaskEvent(str, Enum):
    ANNOTATED = "annotated"
    SKIP_REQUESTED = "skip_requested"


TASK_TABLE: dict[tuple[TaskState, TaskEvent], TaskState] = {
    (TaskState.PENDING, TaskEvent.ANNOTATED): TaskState.DONE,
    (TaskState.SKIPPED, TaskEvent.ANNOTATED): TaskState.DONE,
    (TaskState.DONE, TaskEvent.ANNOTATED): TaskState.DONE,
    (TaskState.PENDING, TaskEvent.SKIP_REQUESTED): TaskState.SKIPPED,
    (TaskState.SKIPPED, TaskEvent.SKIP_REQUESTED): TaskState.SKIPPED,
    (TaskState.DONE, TaskEvent.SKIP_REQUESTED): TaskState.SKIPPED,
}
