"""Every state of an update, with success, error, retry, kill and a newer wish: one table."""

from __future__ import annotations

import pytest

from edge_agent.update.again import BLIND_S
from edge_agent.update.states import FAILURE, STEPS, SUCCESS, Committed, Outcome
from edge_agent.update.updater import Leave
from protocol.messages import MaintenanceWindow, ShadowPolicy
from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)
from tests.unit.edge_agent.update.updater_rig import LIMITS, PATH, Rig, S, wish


def test_the_whole_path_is_persisted_and_told_step_by_step(rig: Rig) -> None:
    rig.desire(wish())
    while rig.state is not S.SUCCEEDED:
        assert rig.on_disk().state is rig.state
        assert rig.steps.begun[-1] is STEPS[rig.state]
        rig.end(Outcome())
    assert rig.states == PATH
    assert [record.state for record in rig.ended] == [S.SUCCEEDED]


def test_every_working_state_has_its_step_and_its_success() -> None:
    assert set(STEPS) == set(SUCCESS)
    for state, event in SUCCESS.items():
        assert (state, event) in EXECUTION_TABLE


def test_the_longest_path_leads_through_shadow_and_window(good: Rig) -> None:
    long = wish().model_copy(
        update={
            "shadow": ShadowPolicy(),
            "window": MaintenanceWindow(cron="0 2 * * *", duration_s=60),
        }
    )
    good.bring_to(S.BUILDING, long)
    while good.state is not S.SUCCEEDED:
        good.end(Outcome())
    between = [S.BUILDING, S.PROVING, S.SHADOWING, S.WAITING_WINDOW, S.PREPARED]
    assert good.states == [*PATH[:4], *between, *PATH[6:]]


ERRORS = [(state, S.FAILED) for state in PATH[:6]] + [
    (S.SWAPPING, S.ROLLING_BACK),
    (S.PROBATION, S.ROLLING_BACK),
    (S.COMMITTING, S.ROLLING_BACK),
    (S.ROLLING_BACK, S.ROLLED_BACK),
]


@pytest.mark.parametrize(("state", "after"), ERRORS)
def test_error_in(state: ExecutionState, after: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    rig.end(Outcome(FAILURE[state], "it broke"))
    assert rig.state is after
    assert rig.told[-1].reason == "it broke"
    assert rig.on_disk().state is after
    assert (rig.steps.cancelled == 1) is (state in BEFORE_EXCHANGE)
    assert (rig.steps.retreats > 0) is (state not in BEFORE_EXCHANGE)


RETRIED = [*PATH[:6], S.COMMITTING, S.ROLLING_BACK]


@pytest.mark.parametrize("state", RETRIED)
def test_what_may_pass_is_tried_again_in(state: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    told, tries = len(rig.told), len(rig.steps.begun)
    for number in range(1, 6):
        rig.end(Outcome(retry=True, reason="no room on the disk"))
        assert rig.state is state
        assert "no room" in rig.record.report().reason
        assert rig.steps.begun[tries:] == [STEPS[state]] * (number - 1)
        rig.tick(0.0)
        assert len(rig.steps.begun) == tries + number - 1
        rig.tick(LIMITS.retry_first_s * 2 ** (number - 1))
        assert rig.steps.begun[tries:] == [STEPS[state]] * number
    assert len(rig.told) == told
    rig.end(Outcome())
    assert rig.state is not state
    assert "no room" not in rig.told[-1].reason


@pytest.mark.parametrize("state", [S.SWAPPING, S.PROBATION])
def test_nothing_is_tried_again_while_a_candidate_may_do_harm(
    state: ExecutionState, good: Rig
) -> None:
    good.bring_to(state)
    good.end(Outcome(retry=True, reason="no room"))
    assert good.state is S.ROLLING_BACK


KILLED = [
    *((state, True, state) for state in PATH[:6]),
    (S.SWAPPING, True, S.ROLLING_BACK),
    (S.SWAPPING, False, S.SWAPPING),
    (S.PROBATION, True, S.ROLLING_BACK),
    (S.PROBATION, False, S.PROBATION),
    (S.COMMITTING, True, S.COMMITTING),
    (S.ROLLING_BACK, True, S.ROLLING_BACK),
]


@pytest.mark.parametrize(("state", "has_good", "after"), KILLED)
def test_killed_in(state: ExecutionState, has_good: bool, after: ExecutionState, rig: Rig) -> None:
    if has_good:
        rig.store.save("slot-slot", Committed(digest="9" * 64))
    rig.bring_to(state)
    told = len(rig.told)
    rig.restart()
    rig.updater.wake(rig.now, rig.wall)
    assert rig.state is after
    assert rig.steps.begun == [], "nothing is begun before the incumbent serves"
    rig.updater.resume(rig.now, rig.wall)
    assert rig.steps.begun == [STEPS[after]]
    assert (len(rig.told) > told) is (after is not state)


@pytest.mark.parametrize("state", [s for s in PATH if s is not S.SUCCEEDED])
def test_a_loop_of_restarts_ends(state: ExecutionState, good: Rig) -> None:
    good.bring_to(state)
    for _ in range(LIMITS.update_stores_max + 1):
        if good.record.terminal:
            break
        good.rise()
        if good.state is S.ROLLING_BACK:
            good.end(Outcome())
    assert good.state in (S.FAILED, S.ROLLED_BACK)


@pytest.mark.parametrize("state", [S.PROVING, S.PREPARED, S.SWAPPING, S.PROBATION])
def test_a_first_install_that_ends_the_agent_again_and_again_goes_back_to_nothing(
    state: ExecutionState, rig: Rig
) -> None:
    rig.bring_to(state)
    for _ in range(LIMITS.probation_starts_max):
        rig.rise()
        assert rig.state is state
    rig.rise()
    assert rig.state in (S.FAILED, S.ROLLING_BACK)
    assert "times in" in rig.told[-1].reason


def test_a_candidate_that_waits_is_not_ended_by_nights_in_which_the_device_is_off(
    good: Rig,
) -> None:
    good.bring_to(S.PREPARED)
    for _ in range(3):
        for _ in range(LIMITS.probation_starts_max):
            good.rise()
            assert good.state is S.PREPARED
        good.updater.forgive(good.now)
        assert good.on_disk().starts == 0
    good.rise()
    good.bring_to(S.SWAPPING)


def test_only_what_waits_is_forgiven(good: Rig) -> None:
    good.bring_to(S.PROVING)
    good.rise()
    good.updater.forgive(good.now)
    assert good.on_disk().starts == 1


@pytest.mark.parametrize("state", [s for s in BEFORE_EXCHANGE if s in PATH])
def test_a_newer_wish_supersedes_before_the_exchange(state: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    rig.desire(wish("b", 2))
    assert rig.states[-2:] == [S.SUPERSEDED, S.QUEUED]
    assert rig.steps.cancelled == 1
    assert rig.on_disk().desired.bundle_digest == "b" * 64


@pytest.mark.parametrize("state", [S.SWAPPING, S.PROBATION, S.COMMITTING, S.ROLLING_BACK])
def test_a_newer_wish_waits_after_the_exchange(state: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    rig.desire(wish("b", 2))
    assert rig.state is state
    while rig.record.desired.attempt == 1:
        rig.end(Outcome())
    assert rig.told[-2].state in TERMINAL_EXECUTION_STATES
    assert (rig.state, rig.told[-1].bundle_digest) == (S.QUEUED, "b" * 64)


def test_nothing_desired_any_more_cancels(rig: Rig) -> None:
    rig.bring_to(S.DOWNLOADING)
    rig.desire(None)
    assert rig.state is S.CANCELED


def test_the_same_wish_again_changes_nothing(rig: Rig) -> None:
    rig.store.save("slot-slot", Committed(digest="a" * 64))
    rig.bring_to(S.SUCCEEDED)
    rig.steps.running = "a" * 64
    told = len(rig.told)
    rig.desire(wish())
    rig.rise()
    rig.steps.running = "a" * 64
    rig.desire(wish())
    assert len(rig.told) == told


def test_the_same_attempt_takes_the_words_of_a_newer_generation(rig: Rig) -> None:
    rig.bring_to(S.PREPARED, wish().model_copy(update={"hold": True}))
    told, begun = len(rig.told), len(rig.steps.begun)
    rig.desire(wish())
    assert not rig.record.desired.hold
    assert not rig.on_disk().desired.hold
    assert (rig.state, len(rig.told), len(rig.steps.begun)) == (S.PREPARED, told, begun)


def test_what_succeeded_and_was_lost_is_fetched_again(rig: Rig) -> None:
    rig.bring_to(S.SUCCEEDED)
    rig.store.save("slot-slot", Committed(digest="a" * 64, previous_digest="9" * 64))
    rig.rise()
    rig.steps.running = "9" * 64
    rig.desire(wish())
    assert rig.state is S.QUEUED
    assert rig.record.previous_digest == "9" * 64
    assert rig.record.reason == "made again: aa was damaged"


def test_the_way_back_is_what_really_served_before_the_exchange(good: Rig) -> None:
    """A start passed over what was committed, and served another."""
    good.steps.running = "7" * 64
    good.bring_to(S.PREPARED)
    assert good.record.previous_digest == "7" * 64
    good.rise()
    good.steps.running = "5" * 64
    good.end(Outcome())
    assert (good.state, good.record.previous_digest) == (S.SWAPPING, "5" * 64)
    assert good.on_disk().previous_digest == "5" * 64


def test_what_a_person_went_back_from_is_not_taken_up_again(rig: Rig) -> None:
    rig.bring_to(S.SUCCEEDED)
    rig.store.save("slot-slot", Committed(digest="9" * 64, previous_digest="a" * 64, by_hand=True))
    rig.steps.running = "9" * 64
    for _ in range(2):
        rig.desire(wish())
        rig.tick()
        assert rig.state is S.SUCCEEDED
        rig.rise()
        rig.steps.running = "9" * 64
    rig.desire(wish(attempt=2))
    assert rig.state is S.QUEUED


@pytest.mark.parametrize("state", [s for s in PATH if s is not S.SUCCEEDED])
def test_a_wish_to_go_back_by_hand_meets(state: ExecutionState, good: Rig) -> None:
    good.bring_to(state)
    leave = good.updater.leave_by_hand(good.now, good.wall)
    if state in BEFORE_EXCHANGE:
        assert (leave, good.state) == (Leave.GIVEN_UP, S.CANCELED)
        assert good.record.left
        assert good.record.report().by_hand
        good.desire(wish())
        assert good.state is S.CANCELED
    elif state is S.PROBATION:
        assert (leave, good.state, good.record.left) == (Leave.GOES_BACK, S.ROLLING_BACK, True)
        assert not good.record.report().by_hand, "said with the end"
        good.end(Outcome())
        told = {report.state: report.by_hand for _, report in good.record.untold(0)}
        assert (good.state, told[S.PROBATION], told[S.ROLLED_BACK]) == (S.ROLLED_BACK, False, True)
    else:
        assert (leave, good.state) == (Leave.WAIT, state)


@pytest.mark.parametrize("state", [*PATH[:6], S.PROBATION])
def test_the_first_that_comes_to_serve_is_not_given_up(state: ExecutionState, rig: Rig) -> None:
    rig.bring_to(state)
    assert rig.updater.leave_by_hand(rig.now, rig.wall) is Leave.ALONE
    assert (rig.state, rig.record.left) == (state, False)


def test_what_was_revoked_and_is_no_more_is_taken_on_again(rig: Rig) -> None:
    """A device that lost its disk while the floor was high is not to stay blind."""
    revoked = wish().model_copy(update={"floor": wish().version + 1})
    rig.bring_to(S.DOWNLOADING, revoked)
    rig.end(Outcome(ExecutionEvent.REFUSED, "it is revoked"))
    rig.desire(revoked)
    assert rig.state is S.REJECTED
    rig.desire(wish())
    assert (rig.state, rig.told[-1].reason) == (S.QUEUED, "made again: it is revoked no more")
    rig.end(Outcome())
    rig.end(Outcome(ExecutionEvent.REFUSED, "its golden frames fail"))
    rig.desire(wish())
    assert rig.state is S.REJECTED, "that has nothing to do with the floor"


def test_a_step_whose_time_is_up_is_told_so(rig: Rig) -> None:
    rig.bring_to(S.PROVING)
    rig.desire(wish("b", 2))
    assert (rig.steps.cancelled, rig.steps.overdue) == (1, False)
    rig.bring_to(S.PROVING, wish("b", 2))
    rig.tick(LIMITS.proof_timeout_s + LIMITS.prepare_timeout_s + 1)
    assert (rig.state, rig.steps.cancelled, rig.steps.overdue) == (S.TIMED_OUT, 2, True)


@pytest.mark.parametrize("event", [ExecutionEvent.ERROR, ExecutionEvent.TIMER_EXPIRED])
def test_a_blind_slot_tries_again_what_came_to_nothing(event: ExecutionEvent, rig: Rig) -> None:
    """On a new disk, with the network gone for an hour: the hub knows that it had succeeded."""
    rig.bring_to(S.DOWNLOADING)
    rig.end(Outcome(event, "no network"))
    over = rig.state
    rig.tick()
    rig.tick(BLIND_S - 1)
    rig.restart()
    rig.desire(wish())
    rig.tick()
    rig.tick(BLIND_S - 1)
    assert rig.state is over, "a start counts from its own beginning"
    rig.tick(1.0)
    assert (rig.state, rig.told[-1].reason) == (S.QUEUED, "made again: nothing serves here")
    rig.end(Outcome(event, "no network"))
    rig.tick(1.0)
    rig.tick(BLIND_S - 1)
    assert rig.state is over, "and so does each try"


@pytest.mark.parametrize("why", ["serves", "rejected", "other", "none"])
def test_what_came_to_nothing_is_left_alone_otherwise(why: str, rig: Rig) -> None:
    rig.bring_to(S.DOWNLOADING)
    rig.end(Outcome(ExecutionEvent.REFUSED if why == "rejected" else ExecutionEvent.ERROR))
    over = rig.state
    if why == "serves":
        rig.steps.running = "9" * 64
    if why == "none":
        rig.desire(None)
    for _ in range(3):
        rig.tick(BLIND_S)
        if why == "other":
            rig.steps.running = None if rig.steps.running else "9" * 64
    assert rig.state is over


def test_words_from_outside_that_are_no_unicode_are_kept_and_told(rig: Rig) -> None:
    odd = "kappe_\udce4.onnx"
    rig.bring_to(S.DOWNLOADING)
    rig.end(Outcome(retry=True, reason=odd))
    assert rig.on_disk().waiting.startswith("kappe_\\udce4.onnx")
    rig.end(Outcome(ExecutionEvent.ERROR, odd * 1000))
    assert rig.told[-1].reason.startswith("kappe_\\udce4.onnx")
    assert len(rig.on_disk().reason) <= 2048


def test_a_record_of_an_unknown_version_is_absent(rig: Rig) -> None:
    rig.bring_to(S.PROBATION)
    path = rig.store.state / "update-slot.json"
    path.write_text(path.read_text().replace('"version":2,"slot"', '"version":3,"slot"'))
    rig.restart()
    assert rig.updater.record is None
