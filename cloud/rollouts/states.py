"""Where a rollout stands, and how what devices report moves their executions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)


class RolloutState(str, Enum):
    """Where a rollout stands."""

    CREATING = "CREATING"
    WAITING_FOR_APPROVAL = "WAITING_FOR_APPROVAL"
    READY = "READY"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    FINISHED = "FINISHED"


class RolloutEvent(str, Enum):
    """What moves a rollout."""

    APPROVAL_ASKED = "approval_asked"
    APPROVED = "approved"
    PREPARED = "prepared"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCEL_REQUESTED = "cancel_requested"
    EMPTIED = "emptied"
    COMPLETED = "completed"


class Outcome(str, Enum):
    """What a rollout achieved: on all its devices, on some, on none; or it was taken back."""

    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    REVERTED = "REVERTED"


class Asks(str, Enum):
    """What a person is asked by a rollout that holds."""

    APPROVAL = "APPROVAL"
    WAVE = "WAVE"
    GATE = "GATE"


ROLLOUT_TABLE: dict[tuple[RolloutState, RolloutEvent], RolloutState] = {
    (RolloutState.CREATING, RolloutEvent.APPROVAL_ASKED): RolloutState.WAITING_FOR_APPROVAL,
    (RolloutState.CREATING, RolloutEvent.PREPARED): RolloutState.READY,
    (RolloutState.WAITING_FOR_APPROVAL, RolloutEvent.APPROVED): RolloutState.READY,
    (RolloutState.WAITING_FOR_APPROVAL, RolloutEvent.CANCEL_REQUESTED): RolloutState.STOPPING,
    (RolloutState.READY, RolloutEvent.STARTED): RolloutState.RUNNING,
    (RolloutState.READY, RolloutEvent.CANCEL_REQUESTED): RolloutState.STOPPING,
    (RolloutState.RUNNING, RolloutEvent.PAUSED): RolloutState.PAUSED,
    (RolloutState.RUNNING, RolloutEvent.CANCEL_REQUESTED): RolloutState.STOPPING,
    (RolloutState.RUNNING, RolloutEvent.COMPLETED): RolloutState.FINISHED,
    (RolloutState.PAUSED, RolloutEvent.RESUMED): RolloutState.RUNNING,
    (RolloutState.PAUSED, RolloutEvent.CANCEL_REQUESTED): RolloutState.STOPPING,
    (RolloutState.PAUSED, RolloutEvent.COMPLETED): RolloutState.FINISHED,
    (RolloutState.STOPPING, RolloutEvent.EMPTIED): RolloutState.STOPPED,
}

FAILURES: frozenset[ExecutionState] = frozenset(
    {
        ExecutionState.FAILED,
        ExecutionState.ROLLED_BACK,
        ExecutionState.TIMED_OUT,
        ExecutionState.REJECTED,
    }
)
"""Ends that speak against the build and count toward a pause."""

UNCOUNTED: frozenset[ExecutionState] = frozenset(
    {ExecutionState.NO_ARTIFACT, ExecutionState.SUPERSEDED, ExecutionState.CANCELED}
)
"""Ends that say nothing about the build: no gate counts them."""

GOING_BACK, WENT_BACK, NOT_BACK = "GOING_BACK", "REVERTED", "NOT_REVERTED"
"""What an attempt that brings a device back to what it had before is called, among the states
of those that bring the build."""


PINNED_BY = "pinned by "
"""What the reason of an attempt begins with that a person's pin ended."""
BY_HAND = "somebody at the device went back"
RUNS_AGAIN = "it runs the build again"
"""Said of a device that had diverged: why, and what became of it."""


def word_of(state: str, *, reverts: bool) -> str:
    """How an attempt is counted: by its state, and on the way back by how far that came."""
    found = ExecutionState(state)
    if not reverts or found is ExecutionState.SUPERSEDED:
        return state
    if found not in TERMINAL_EXECUTION_STATES:
        return GOING_BACK
    return WENT_BACK if found is ExecutionState.SUCCEEDED else NOT_BACK


HUB_EXECUTION_TABLE: Mapping[tuple[ExecutionState, ExecutionEvent], ExecutionState] = {
    **EXECUTION_TABLE,
    **{
        (state, ExecutionEvent.TIMER_EXPIRED): ExecutionState.TIMED_OUT
        for state in ExecutionState
        if state not in TERMINAL_EXECUTION_STATES and state not in BEFORE_EXCHANGE
    },
}
"""The shared table, and the hub's own timers: a device that falls silent after the
exchange cannot end its execution, so the hub does."""


def _reachable() -> dict[ExecutionState, frozenset[ExecutionState]]:
    steps: dict[ExecutionState, set[ExecutionState]] = {state: set() for state in ExecutionState}
    for (source, _), target in EXECUTION_TABLE.items():
        steps[source].add(target)
    reached: dict[ExecutionState, frozenset[ExecutionState]] = {}

    def walk(state: ExecutionState) -> frozenset[ExecutionState]:
        if state not in reached:
            reached[state] = frozenset(steps[state]).union(*(walk(s) for s in steps[state]))
        return reached[state]

    for state in ExecutionState:
        walk(state)
    return reached


REACHABLE: Mapping[ExecutionState, frozenset[ExecutionState]] = _reachable()
"""For each execution state, all that the shared table can still lead to."""


def receive(current: ExecutionState, reported: ExecutionState) -> ExecutionState:
    """The state after a device's report: forward along the table, never back.

    Steps whose reports were missed are skipped over; a repeated or late report and any
    report on a terminal state change nothing.
    """
    return reported if reported in REACHABLE[current] else current
