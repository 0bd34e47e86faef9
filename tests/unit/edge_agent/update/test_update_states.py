"""What the machine decides without doing anything: where to go, what a restart means, time."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Limits
from edge_agent.update.states import (
    FAILURE,
    STEPS,
    Committed,
    Outcome,
    UpdateRecord,
    after_proof,
    boot_digest,
    event_of,
    last_good,
    moved,
    opened,
    refusal_event,
    resume_event,
    retry_delay_s,
    same_attempt,
)
from edge_agent.update.timers import expired, timer_s
from edge_agent.update.waiting import waits_for
from protocol.errors import IllegalEvent
from protocol.messages import MaintenanceWindow, ShadowPolicy
from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)
from tests.unit.edge_agent.update.updater_rig import LIMITS, E, S, wish

SHADOW = ShadowPolicy()
NIGHT = MaintenanceWindow(cron="0 2 * * *", duration_s=3600)
NOON = 1_700_049_600.0  # 2023-11-15 12:00 UTC
policies = st.builds(
    lambda shadow, window: wish().model_copy(
        update={"shadow": SHADOW if shadow else None, "window": NIGHT if window else None}
    ),
    st.booleans(),
    st.booleans(),
)


def record(state: ExecutionState, **update: object) -> UpdateRecord:
    return UpdateRecord(slot="s", desired=wish("c"), state=state).model_copy(update=update)


@given(events=st.lists(st.sampled_from(E), max_size=40), wanted=policies)
def test_whatever_happens_numbers_rise_by_one_and_figures_add_up(
    events: list[ExecutionEvent], wanted: object
) -> None:
    assert isinstance(wanted, type(wish()))
    found = opened("s", wanted, None, 7, 1.0)
    for number, event in enumerate(events):
        try:
            found = moved(found, event, Outcome(figures={f"f{number}": 1.0}), 2.0, float(number))
        except IllegalEvent:
            continue
    numbers = [passage.number for passage in found.passages]
    assert numbers == list(range(8, 8 + len(numbers)))
    assert found.transition == numbers[-1]
    told = found.untold(7)
    assert [number for number, _ in told] == numbers
    assert told[-1][1] == found.report()
    assert found.untold(found.transition) == []
    assert UpdateRecord.model_validate_json(found.model_dump_json()) == found


@given(wanted=policies, has_incumbent=st.booleans(), state=st.sampled_from(sorted(STEPS)))
def test_every_outcome_means_something_that_the_table_allows(
    wanted: object, has_incumbent: bool, state: ExecutionState
) -> None:
    found = record(state, desired=wanted)
    for outcome in (Outcome(), Outcome(retry=True, reason="full")):
        assert (state, event_of(found, outcome, has_incumbent)) in EXECUTION_TABLE
    for fits in (True, False):
        assert (state, refusal_event(state, fits)) in EXECUTION_TABLE


def test_after_the_proof_comes_what_the_policies_say() -> None:
    both = wish().model_copy(update={"shadow": SHADOW, "window": NIGHT})
    window = wish().model_copy(update={"window": NIGHT})
    assert after_proof(both, has_incumbent=True) is E.SHADOW_STARTED
    assert after_proof(both, has_incumbent=False) is E.WINDOW_AWAITED
    assert after_proof(window, has_incumbent=True) is E.WINDOW_AWAITED
    assert after_proof(wish(), has_incumbent=True) is E.PREPARE_FINISHED


@pytest.mark.parametrize("state", list(S))
def test_boot_serves_the_committed_bundle_until_probation_is_over(state: ExecutionState) -> None:
    good = Committed(digest="9" * 64)
    expected = "c" * 64 if state is S.COMMITTING else good.digest
    assert boot_digest(record(state), good) == expected
    alone = "c" * 64 if state in (S.COMMITTING, S.PROBATION) else None
    assert boot_digest(record(state), None) == alone


def test_what_was_lost_goes_back_to_the_one_before() -> None:
    committed = Committed(digest="c" * 64, previous_digest="9" * 64)
    assert last_good(committed, wish("a")) == "c" * 64
    assert last_good(committed, wish("c")) == "9" * 64
    assert last_good(None, wish("a")) is None


def test_too_many_stores_are_an_error_wherever_they_happen() -> None:
    for state in STEPS:
        worn = resume_event(record(state, stores=LIMITS.update_stores_max), LIMITS)
        assert worn is not None
        assert worn.event is FAILURE[state]
    assert resume_event(record(S.DOWNLOADING, stores=1), LIMITS) is None


@pytest.mark.parametrize("state", sorted(STEPS))
def test_every_state_has_a_timer(state: ExecutionState) -> None:
    long = wish().model_copy(update={"timeout_s": 80 * 86_400.0})
    found = record(state, desired=long, entered_spent_s=100.0, waiting="the disk is full")
    limit_s = timer_s(found, LIMITS)
    assert limit_s is not None
    assert expired(found, LIMITS, 100.0 + limit_s) is None
    over = expired(found, LIMITS, 100.1 + limit_s)
    assert over is not None
    assert over.reason.endswith(": the disk is full")
    assert EXECUTION_TABLE[state, over.event or E.ERROR] is {
        S.SWAPPING: S.ROLLING_BACK,
        S.PROBATION: S.ROLLING_BACK,
        S.COMMITTING: S.ROLLING_BACK,
        S.ROLLING_BACK: S.ROLLED_BACK,
    }.get(state, S.TIMED_OUT)


@pytest.mark.parametrize("state", sorted(STEPS))
def test_the_whole_timer_ends_nothing_that_was_exchanged(state: ExecutionState) -> None:
    found = record(state, desired=wish().model_copy(update={"timeout_s": 60.0}))
    found = found.model_copy(update={"entered_spent_s": 59.0})
    over = expired(found, LIMITS, 61.0)
    assert (over is not None) is (state in BEFORE_EXCHANGE)


@pytest.mark.parametrize("state", sorted(TERMINAL_EXECUTION_STATES))
def test_nothing_expires_any_more(state: ExecutionState) -> None:
    assert expired(record(state), LIMITS, 1e12) is None


@given(tries=st.integers(1, 10_000), seed=st.integers(0, 1000))
def test_retries_wait_longer_and_never_for_good(tries: int, seed: int) -> None:
    limits = Limits(retry_first_s=1.0, retry_cap_s=60.0)
    delay_s = retry_delay_s(tries, limits, Random(seed))
    assert 0 < delay_s <= min(60.0, 2.0 ** min(tries - 1, 6))


def test_an_attempt_is_the_same_under_other_words() -> None:
    assert same_attempt(wish(), wish().model_copy(update={"hold": True, "window": NIGHT}))
    assert not same_attempt(wish(), wish(attempt=2))
    assert not same_attempt(wish(), wish("b"))


def test_a_candidate_waits_for_window_veto_and_word_in_turn() -> None:
    wanted = wish().model_copy(update={"window": NIGHT, "hold": True})
    held = record(S.PREPARED, desired=wanted, previous_digest="b" * 64)
    assert waits_for(held, NOON, None) == "its window opens 2023-11-16 02:00 UTC"
    night = NOON + 14 * 3600 + 60
    assert "not now, until 2023-11-16 02:31" in waits_for(held, night, night + 1800)
    assert "site" in waits_for(held, night, None)
    assert waits_for(held, night, None, held=False) == ""
    assert waits_for(record(S.PREPARED), NOON, None) == ""
    blind = held.model_copy(update={"previous_digest": None})
    assert waits_for(blind, NOON, None) == "", "nothing is there to be disturbed"
    assert "not now" in waits_for(blind, NOON, NOON + 60)
