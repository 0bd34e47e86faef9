"""What devices say of their executions. Each word is taken once, in the order of the table."""

from __future__ import annotations

import time

from sqlmodel import Session

from cloud.fleet import service as fleet
from cloud.rollouts import telling
from cloud.rollouts.looking import INCONCLUSIVE, SHADOW_FIGURE
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.states import receive
from protocol.messages import ExecutionReport
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState


def on_execution(
    session: Session,
    device_id: str,
    report: ExecutionReport,
    at: float,
    *,
    now: float | None = None,
) -> bool:
    """Take a device's word on its execution; True where that moved it.

    at: when it happened, by the device's clock. Timers use the hub's `now`.
    """
    if report.rollout_id is None:
        return False
    row = session.get(Execution, (report.rollout_id, device_id, report.attempt))
    if row is None or row.started_at is None or report.bundle_digest != row.digest:
        return False
    if report.figures:
        row.figures = {**row.figures, **report.figures}
        session.add(row)
    state = receive(ExecutionState(row.state), report.state)
    if state is report.state and _asks_a_person(report) and not row.shadow:
        row.shadow, row.reason = INCONCLUSIVE, report.reason
        session.add(row)
        fleet.touch(session, [device_id])
    if state.value == row.state:
        return False
    row.state, row.reason = state.value, report.reason
    row.step_at = time.time() if now is None else now
    _note_exchange(row, state, at)
    if state in TERMINAL_EXECUTION_STATES:
        row.ended_at, row.device_ended_at = row.step_at, at
        rollout = session.get_one(Rollout, report.rollout_id)
        row.by_hand = state is ExecutionState.CANCELED and telling.stands(session, rollout, row)
        if state is not ExecutionState.SUCCEEDED and not row.by_hand:
            telling.withdraw(session, rollout, row)
    session.add(row)
    fleet.touch(session, [device_id])
    return True


_SERVING = (ExecutionState.PROBATION, ExecutionState.COMMITTING, ExecutionState.SUCCEEDED)


def _note_exchange(row: Execution, state: ExecutionState, at: float) -> None:
    """From when on the device has run the new build, by its own clock: from its probation on, or
    from the next best of what it told."""
    first = row.exchanged_at is None and state in (*_SERVING, ExecutionState.SWAPPING)
    if first or state is ExecutionState.PROBATION:
        row.exchanged_at = at


def _asks_a_person(report: ExecutionReport) -> bool:
    """Whether a shadow ended without a verdict; also where time ran out over the answer."""
    asking = report.state in (ExecutionState.SHADOWING, ExecutionState.TIMED_OUT)
    return asking and report.figures.get(SHADOW_FIGURE) == 1
