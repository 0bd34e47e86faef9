"""How a training job moves."""

from __future__ import annotations

from enum import Enum

from protocol.machine import terminal_states


class JobState(str, Enum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    EXPORTING = "EXPORTING"
    EVALUATING = "EVALUATING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class JobEvent(str, Enum):
    STARTED = "started"
    TRAINED = "trained"
    EXPORTED = "exported"
    REGISTERED = "registered"
    ERROR = "error"
    CANCEL_REQUESTED = "cancel_requested"


JOB_TABLE: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.QUEUED, JobEvent.STARTED): JobState.RUNNING,
    (JobState.RUNNING, JobEvent.TRAINED): JobState.EXPORTING,
    (JobState.EXPORTING, JobEvent.EXPORTED): JobState.EVALUATING,
    (JobState.EVALUATING, JobEvent.REGISTERED): JobState.SUCCEEDED,
} | {
    (state, event): target
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.EXPORTING, JobState.EVALUATING)
    for event, target in (
        (JobEvent.ERROR, JobState.FAILED),
        (JobEvent.CANCEL_REQUESTED, JobState.CANCELED),
    )
}

TERMINAL_JOB_STATES: frozenset[JobState] = terminal_states(JOB_TABLE)
