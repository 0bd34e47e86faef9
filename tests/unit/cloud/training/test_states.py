"""Training jobs: every state can fail and be canceled until it is over."""

from __future__ import annotations

import pytest

from cloud.training.states import JOB_TABLE, TERMINAL_JOB_STATES, JobEvent, JobState
from protocol.errors import IllegalEvent
from protocol.machine import advance


def test_the_way_to_success() -> None:
    state = JobState.QUEUED
    for event in (JobEvent.STARTED, JobEvent.TRAINED, JobEvent.EXPORTED, JobEvent.REGISTERED):
        state = advance(JOB_TABLE, state, event)
    assert state is JobState.SUCCEEDED


@pytest.mark.parametrize("state", JobState)
def test_error_and_cancel(state: JobState) -> None:
    if state in TERMINAL_JOB_STATES:
        for event in JobEvent:
            with pytest.raises(IllegalEvent):
                advance(JOB_TABLE, state, event)
    else:
        assert advance(JOB_TABLE, state, JobEvent.ERROR) is JobState.FAILED
        assert advance(JOB_TABLE, state, JobEvent.CANCEL_REQUESTED) is JobState.CANCELED


def test_the_states_that_end() -> None:
    assert {s.value for s in TERMINAL_JOB_STATES} == {"SUCCEEDED", "FAILED", "CANCELED"}
