"""What devices say of their executions."""

from __future__ import annotations

import time

from sqlmodel import Session

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
    state = receive(ExecutionState(row.state), report.state)
    if state is report.state and _asks_a_person(report) and not row.shadow:
        row.shadow, row.reason = INCONCLUSIVE, report.reason
        session.add(row)
    if state.value == row.state:
        return False
    row.state, row.reason = state.value, report.reason
    row.step_at = time.time() if now is None else now
    if state in TERMINAL_EXECUTION_STATES:
        row.ended_at, row.device_ended_at = row.step_at, at
        rollout = session.get_one(Rollout, report.rollout_id)
        row.by_hand = state is ExecutionState.CANCELED and telling.stands(session, rollout, row)
        if state is not ExecutionState.SUCCEEDED and not row.by_hand:
            telling.withdraw(session, rollout, row)
    session.add(row)
    return True


def _asks_a_person(report: ExecutionReport) -> bool:
    """Whether a shadow ended without a verdict; also where time ran out over the answer."""
    asking = report.state in (ExecutionState.SHADOWING, ExecutionState.TIMED_OUT)
    return asking and report.figures.get(SHADOW_FIGURE) == 1
