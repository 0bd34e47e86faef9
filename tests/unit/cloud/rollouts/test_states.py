"""The tables, row by row, and what a device's report may change."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollouts.states import (
    FAILURES,
    HUB_EXECUTION_TABLE,
    REACHABLE,
    ROLLOUT_TABLE,
    UNCOUNTED,
    RolloutEvent,
    RolloutState,
    receive,
)
from protocol.errors import IllegalEvent
from protocol.machine import advance, terminal_states
from protocol.states import EXECUTION_TABLE, TERMINAL_EXECUTION_STATES, ExecutionState

ROLLOUT_ROWS = """
CREATING approval_asked WAITING_FOR_APPROVAL
CREATING prepared READY
WAITING_FOR_APPROVAL approved READY
WAITING_FOR_APPROVAL cancel_requested STOPPING
READY started RUNNING
READY cancel_requested STOPPING
RUNNING paused PAUSED
RUNNING cancel_requested STOPPING
RUNNING completed FINISHED
PAUSED resumed RUNNING
PAUSED cancel_requested STOPPING
PAUSED completed FINISHED
STOPPING emptied STOPPED
"""
LEGAL = {
    (RolloutState(a), RolloutEvent(e)): RolloutState(b)
    for a, e, b in (row.split() for row in ROLLOUT_ROWS.strip().splitlines())
}
STATES = st.sampled_from(ExecutionState)


@pytest.mark.parametrize(("state", "event"), list(product(RolloutState, RolloutEvent)))
def test_every_row_of_the_rollout_table(state: RolloutState, event: RolloutEvent) -> None:
    if (state, event) in LEGAL:
        assert advance(ROLLOUT_TABLE, state, event) is LEGAL[state, event]
    else:
        with pytest.raises(IllegalEvent):
            advance(ROLLOUT_TABLE, state, event)


def test_a_rollout_ends_stopped_or_finished() -> None:
    assert terminal_states(ROLLOUT_TABLE) == {RolloutState.STOPPED, RolloutState.FINISHED}


def test_every_end_but_success_is_a_failure_or_uncounted() -> None:
    assert FAILURES | UNCOUNTED | {ExecutionState.SUCCEEDED} == TERMINAL_EXECUTION_STATES
    assert not FAILURES & UNCOUNTED


def test_the_hubs_timer_ends_every_open_execution() -> None:
    timed_out = {a for (a, _), b in HUB_EXECUTION_TABLE.items() if b is ExecutionState.TIMED_OUT}
    assert timed_out == set(ExecutionState) - TERMINAL_EXECUTION_STATES


@pytest.mark.parametrize(("row", "target"), list(EXECUTION_TABLE.items()))
def test_a_report_of_each_row_of_the_execution_table_moves_forward(
    row: tuple[ExecutionState, object], target: ExecutionState
) -> None:
    assert receive(row[0], target) is target
    assert receive(target, row[0]) is target


@given(current=STATES, reported=STATES)
def test_terminal_is_sticky_and_nothing_goes_back(
    current: ExecutionState, reported: ExecutionState
) -> None:
    after = receive(current, reported)

    assert after in (current, reported)
    if current in TERMINAL_EXECUTION_STATES:
        assert after is current
    if after is not current:
        assert receive(after, current) is after
        assert REACHABLE[after] < REACHABLE[current]


@given(st.lists(STATES, max_size=12))
def test_repeating_and_replaying_reports_changes_nothing(reports: list[ExecutionState]) -> None:
    state = ExecutionState.QUEUED
    for reported in reports:
        state = receive(state, reported)
    end = state
    for reported in reports[: reports.index(end) + 1] if end in reports else []:
        state = receive(state, reported)

    assert state is end


def test_a_missed_report_is_skipped_over() -> None:
    assert receive(ExecutionState.DOWNLOADING, ExecutionState.SWAPPING) is ExecutionState.SWAPPING
    assert receive(ExecutionState.QUEUED, ExecutionState.ROLLED_BACK) is ExecutionState.ROLLED_BACK
