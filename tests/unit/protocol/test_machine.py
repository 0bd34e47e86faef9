from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import IllegalEvent
from protocol.machine import advance, mermaid, terminal_states
from protocol.states import (
    BEFORE_EXCHANGE,
    CAMERA_TABLE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    CameraState,
    ExecutionEvent,
    ExecutionState,
)

HAPPY_PATH = [
    (ExecutionEvent.DOWNLOAD_STARTED, ExecutionState.DOWNLOADING),
    (ExecutionEvent.DOWNLOAD_FINISHED, ExecutionState.DOWNLOADED),
    (ExecutionEvent.VERIFY_PASSED, ExecutionState.VERIFIED),
    (ExecutionEvent.PROOF_STARTED, ExecutionState.PROVING),
    (ExecutionEvent.PREPARE_FINISHED, ExecutionState.PREPARED),
    (ExecutionEvent.SWAP_STARTED, ExecutionState.SWAPPING),
    (ExecutionEvent.EXCHANGED, ExecutionState.PROBATION),
    (ExecutionEvent.PROBATION_PASSED, ExecutionState.COMMITTING),
    (ExecutionEvent.COMMITTED, ExecutionState.SUCCEEDED),
]


def test_a_good_update_goes_through() -> None:
    state = ExecutionState.QUEUED
    for event, expected in HAPPY_PATH:
        state = advance(EXECUTION_TABLE, state, event)
        assert state is expected


@pytest.mark.parametrize("table", [EXECUTION_TABLE, CAMERA_TABLE])
def test_every_state_is_reached(table: Mapping[tuple[Any, Any], Any]) -> None:
    states = {state for state, _ in table} | set(table.values())
    initial = {ExecutionState.QUEUED, CameraState.CONNECTING}
    assert states - set(table.values()) <= initial


def test_terminal_states_are_sticky() -> None:
    assert terminal_states(EXECUTION_TABLE) == TERMINAL_EXECUTION_STATES
    for state in TERMINAL_EXECUTION_STATES:
        for event in ExecutionEvent:
            with pytest.raises(IllegalEvent, match="terminal"):
                advance(EXECUTION_TABLE, state, event)


@pytest.mark.parametrize("state", BEFORE_EXCHANGE)
def test_before_the_exchange_any_attempt_can_end(state: ExecutionState) -> None:
    assert advance(EXECUTION_TABLE, state, ExecutionEvent.NEWER_DESIRED) is (
        ExecutionState.SUPERSEDED
    )
    assert advance(EXECUTION_TABLE, state, ExecutionEvent.ERROR) is ExecutionState.FAILED


@pytest.mark.parametrize(
    "state", [ExecutionState.SWAPPING, ExecutionState.PROBATION, ExecutionState.COMMITTING]
)
def test_after_the_exchange_the_only_way_out_is_forward_or_back(state: ExecutionState) -> None:
    targets = {target for (source, _), target in EXECUTION_TABLE.items() if source is state}
    assert ExecutionState.ROLLING_BACK in targets
    assert not targets & {ExecutionState.FAILED, ExecutionState.SUPERSEDED}


@given(st.sampled_from(ExecutionState), st.sampled_from(ExecutionEvent))
def test_an_illegal_event_says_what_is_legal(state: ExecutionState, event: ExecutionEvent) -> None:
    if (state, event) in EXECUTION_TABLE:
        assert advance(EXECUTION_TABLE, state, event) is EXECUTION_TABLE[state, event]
    else:
        with pytest.raises(IllegalEvent, match=f"{state.value} does not take {event.value}"):
            advance(EXECUTION_TABLE, state, event)


class Lamp(Enum):
    OFF = "OFF"
    ON = "ON"
    BROKEN = "BROKEN"


class Touch(Enum):
    PRESS = "press"
    DROP = "drop"


def test_the_diagram_holds_every_edge() -> None:
    table = {
        (Lamp.OFF, Touch.PRESS): Lamp.ON,
        (Lamp.ON, Touch.PRESS): Lamp.OFF,
        (Lamp.ON, Touch.DROP): Lamp.BROKEN,
    }
    assert mermaid(table, Lamp.OFF).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> OFF",
        "    OFF --> ON: press",
        "    ON --> OFF: press",
        "    ON --> BROKEN: drop",
        "    BROKEN --> [*]",
    ]
