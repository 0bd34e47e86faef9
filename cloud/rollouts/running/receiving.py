"""What devices say of their executions. Each word is taken once, in the order of the table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from itertools import groupby

from sqlmodel import Session

from cloud.fleet import service as fleet
from cloud.lots import lots
from cloud.rollouts import queries
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.running import leaving, telling
from cloud.rollouts.running.looking import INCONCLUSIVE, SHADOW_FIGURE
from cloud.rollouts.states import receive
from cloud.telemetry.service import Step, Turn
from protocol.messages import ExecutionReport
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState


def on_words(session: Session, words: Sequence[Step | Turn], *, now: float | None = None) -> bool:
    """Take devices' words in their order, for what one says may hang on the one before; True
    where an execution was moved or a turn changed what is known."""
    now = time.time() if now is None else now
    changed = False
    for _, some in groupby(words, type):
        alike = list(some)
        changed |= on_executions(session, [w for w in alike if isinstance(w, Step)], now=now)
        for turn in (w for w in alike if isinstance(w, Turn)):
            changed |= leaving.on_turn(session, turn, now)
    return changed


def on_executions(session: Session, steps: Sequence[Step], *, now: float | None = None) -> bool:
    """Take devices' words on their executions, in their order; True where one was moved.

    Timers use the hub's `now`.
    """
    now = time.time() if now is None else now
    rows = _rows(session, steps)
    taken = [_take(session, rows.get(_key(step)), step, now) for step in steps]
    both = zip(steps, taken, strict=True)
    fleet.touch(session, (step.device_id for step, change in both if change is not None))
    return Change.MOVED in taken


def on_execution(
    session: Session,
    device_id: str,
    report: ExecutionReport,
    at: float,
    *,
    now: float | None = None,
) -> bool:
    """As `on_executions`, of one; `at`: when it happened, by the device's clock."""
    return on_executions(session, [Step(device_id, report, at)], now=now)


class Change(Enum):
    """What a device's word changed of its execution."""

    ASKED = "asked"
    MOVED = "moved"


def _key(step: Step) -> tuple[str, str, int]:
    return step.report.rollout_id or "", step.device_id, step.report.attempt


def _rows(session: Session, steps: Sequence[Step]) -> dict[tuple[str, str, int], Execution]:
    """The executions of a batch: one by one each would be a statement, and before it one that
    writes the row of the one before."""
    keys = sorted({_key(step) for step in steps if step.report.rollout_id is not None})
    found = (row for some in lots(keys) for row in queries.executions_at(session, some))
    return {(row.rollout_id, row.device_id, row.attempt): row for row in found}


def _take(session: Session, row: Execution | None, step: Step, now: float) -> Change | None:
    report = step.report
    if row is None or row.started_at is None or report.bundle_digest != row.digest:
        return None
    if report.figures:
        row.figures = {**row.figures, **report.figures}
        session.add(row)
    change = None
    state = receive(ExecutionState(row.state), report.state)
    if state is report.state and _asks_a_person(report) and not row.shadow:
        row.shadow, row.reason = INCONCLUSIVE, report.reason
        session.add(row)
        change = Change.ASKED
    if state.value == row.state:
        return change
    row.state, row.reason, row.step_at = state.value, report.reason, now
    _note_exchange(row, state, step.at)
    if state in TERMINAL_EXECUTION_STATES:
        row.ended_at, row.device_ended_at = now, step.at
        if state is not ExecutionState.SUCCEEDED:
            _give_up(session, row, report)
    session.add(row)
    return Change.MOVED


def _give_up(session: Session, row: Execution, report: ExecutionReport) -> None:
    """Have the device desire what it did before. Where somebody there gave the attempt up, that is
    what they kept: a device that loses its memory with its disk is to come back to it.

    Older agents do not say who it was: what the hub had not canceled, a person had.
    """
    rollout = session.get_one(Rollout, row.rollout_id)
    unasked = report.state is ExecutionState.CANCELED and telling.stands(session, rollout, row)
    row.by_hand = report.by_hand or unasked
    telling.withdraw(session, rollout, row)


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
