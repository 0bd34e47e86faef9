"""How a job moves."""

from __future__ import annotations

from enum import Enum

from protocol.machine import terminal_states


class JobState(str, Enum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class JobEvent(str, Enum):
    STARTED = "started"
    DONE = "done"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    CANCEL_REQUESTED = "cancel_requested"
    RETRY_REQUESTED = "retry_requested"


JOB_TABLE: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.QUEUED, JobEvent.STARTED): JobState.RUNNING,
    (JobState.QUEUED, JobEvent.CANCEL_REQUESTED): JobState.CANCELED,
    (JobState.RUNNING, JobEvent.DONE): JobState.SUCCEEDED,
    (JobState.RUNNING, JobEvent.ERROR): JobState.FAILED,
    (JobState.RUNNING, JobEvent.INTERRUPTED): JobState.QUEUED,
    (JobState.RUNNING, JobEvent.CANCEL_REQUESTED): JobState.CANCELED,
    (JobState.FAILED, JobEvent.RETRY_REQUESTED): JobState.QUEUED,
    (JobState.CANCELED, JobEvent.RETRY_REQUESTED): JobState.QUEUED,
}
"""INTERRUPTED: the attempt was cut off (the hub stopped, a child was killed) and another is
left; FAILED and CANCELED are final until somebody asks for another try."""

ENDED: frozenset[JobState] = terminal_states(JOB_TABLE) | {JobState.FAILED, JobState.CANCELED}
