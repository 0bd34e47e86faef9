"""The planner where devices wait: for their site, for a person, for a window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    DeviceView,
    EndExecution,
    Finish,
    MarkDiverged,
    NextWave,
    Pause,
    Policy,
    Release,
    StartExecution,
)
from cloud.rollouts.states import Outcome, RolloutState
from protocol.messages import MaintenanceWindow
from protocol.states import ExecutionEvent
from tests.simulation.rollouts.builds import DIGEST, OTHER
from tests.unit.cloud.rollouts.views import NOW, ROLLOUT, WAITING, S, device, done, flying

ATOMIC = replace(ROLLOUT, policy=Policy(site_atomic=True))
LONG_AGO = NOW - 2000


def held(name: str, state: S = S.PREPARED, site: str = "ulm", **values: Any) -> DeviceView:
    given = {"site": site, "held": True, "online": True, **values}
    return replace(flying(state, **given), device_id=name)


def test_no_word_while_the_window_is_shut_or_about_to() -> None:
    window = MaintenanceWindow(cron="0 2 * * *", duration_s=3600)
    views = [held("a", window=window), held("b", window=window), WAITING]
    patient = replace(ROLLOUT, policy=Policy(site_atomic=True, total_timeout_s=86_400))
    midnight = NOW - NOW % 86_400
    for hour, given in ((1.99, False), (2.0, True), (2.99, True), (2.999, False), (3.0, False)):
        planned = plan(patient, views, midnight + hour * 3600)
        assert any(isinstance(action, Release) for action in planned) is given, hour


def test_a_device_of_a_site_starts_held_and_one_of_none_does_not() -> None:
    views = [device("a", site="ulm"), device("b"), WAITING]
    assert plan(ATOMIC, views, NOW) == [
        StartExecution("a", 1, DIGEST, hold=True),
        StartExecution("b", 1, DIGEST),
    ]
    assert plan(ROLLOUT, views, NOW)[0] == StartExecution("a", 1, DIGEST)


def test_each_site_gets_its_own_word_when_all_of_it_are_prepared() -> None:
    bonn = [held("c", site="bonn"), held("d", S.PROVING, site="bonn")]
    views = [held("a"), held("b"), *bonn, WAITING]
    assert plan(ATOMIC, views, NOW) == [Release("ulm", ("a", "b"))]


@pytest.mark.parametrize(
    "other",
    [
        held("b", S.PROVING),
        held("b", S.SHADOWING, inconclusive=True),
        held("b", online=False),
        held("b", vetoed=True),
        replace(flying(S.VERIFIED, site="ulm"), device_id="b"),
    ],
)
def test_a_site_waits_for_whom_it_has(other: DeviceView) -> None:
    assert plan(ATOMIC, [held("a"), other, WAITING], NOW) == []


@pytest.mark.parametrize(
    "other",
    [
        done("b", S.NO_ARTIFACT, site="ulm"),
        done("b", S.SUCCEEDED, site="ulm"),
        done("b", S.FAILED, site="ulm", acknowledged=True),
        replace(held("b"), held=False, released=True, online=False),
        replace(held("b", S.PROVING), held=False, attempt=2),
        replace(held("b", S.PROVING), wave=1),
    ],
)
def test_a_site_does_not_wait_for_whom_it_has_no_more(other: DeviceView) -> None:
    assert plan(ATOMIC, [held("a"), other, WAITING], NOW) == [Release("ulm", ("a",))]


def test_failures_within_what_is_tolerated_do_not_hold_the_site_up() -> None:
    views = [held("a"), done("b", S.TIMED_OUT, site="ulm"), WAITING]
    assert isinstance(plan(ATOMIC, views, NOW)[0], Pause)
    tolerant = replace(ATOMIC, policy=Policy(site_atomic=True, failed_max=1))
    assert plan(tolerant, views, NOW) == [Release("ulm", ("a",))]


def test_a_paused_rollout_gives_no_word() -> None:
    assert plan(replace(ATOMIC, state=RolloutState.PAUSED), [held("a"), WAITING], NOW) == []


@pytest.mark.parametrize("state", [S.SHADOWING, S.WAITING_WINDOW, S.PREPARED])
def test_a_device_that_waits_is_lost_only_when_it_is_away(state: S) -> None:
    waiting = flying(state, step_at=LONG_AGO, started_at=LONG_AGO, online=True)
    assert plan(ROLLOUT, [waiting, WAITING], NOW) == []
    away = replace(waiting, online=False, heard_at=NOW - 899)
    assert plan(ROLLOUT, [away, WAITING], NOW) == []
    (end,) = plan(ROLLOUT, [replace(away, heard_at=NOW - 901), WAITING], NOW)
    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.TIMER_EXPIRED
    assert f"no word after {state.value}" in end.reason
    (end,) = plan(ROLLOUT, [replace(waiting, started_at=NOW - 3601), WAITING], NOW)
    assert "not done after" in str(end)


@pytest.mark.parametrize("state", [S.PREPARED, S.SWAPPING, S.PROBATION])
def test_after_the_word_only_the_total_timer_and_no_cancel_end_a_device(state: S) -> None:
    let_go = flying(state, released=True, site="ulm", step_at=LONG_AGO, started_at=LONG_AGO)
    for rollout in (ATOMIC, replace(ATOMIC, state=RolloutState.STOPPING)):
        assert plan(rollout, [let_go, WAITING][: 1 + (rollout is ATOMIC)], NOW) == []
        (end,) = plan(rollout, [replace(let_go, started_at=NOW - 3601)], NOW)
        assert isinstance(end, EndExecution)
        assert end.event is ExecutionEvent.TIMER_EXPIRED


def test_a_shadow_that_nobody_answers_is_given_up_and_is_no_failure() -> None:
    asking = flying(S.SHADOWING, inconclusive=True, online=True, started_at=NOW - 3601)
    (end,) = plan(ROLLOUT, [asking, WAITING], NOW)
    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.CANCEL_REQUESTED
    assert "nobody accepted its shadow" in end.reason
    # So it ends also where another rollout has taken all others.
    lost = [done("a", S.SUPERSEDED), device("b", S.SUPERSEDED, wave=1, ended_at=NOW)]
    assert plan(ROLLOUT, [asking, *lost], NOW) == [end]
    assert plan(ROLLOUT, [done(state=S.CANCELED), *lost], NOW) == [Finish(Outcome.FAILED)]
    # The device may come first with its own timer.
    late = done("a", S.TIMED_OUT, inconclusive=True)
    assert plan(ROLLOUT, [late, WAITING], NOW) == [NextWave(1)]


def test_who_went_back_by_hand_is_marked_and_not_overruled() -> None:
    odd = done("a", running_digest=OTHER, by_hand=True)
    (marked,) = plan(replace(ROLLOUT, state=RolloutState.FINISHED), [odd], NOW)
    assert isinstance(marked, MarkDiverged)
    assert marked.by_hand
    assert "somebody at the device went back" in marked.reason
    marked_before = replace(odd, diverged=True)
    assert plan(replace(ROLLOUT, state=RolloutState.FINISHED), [marked_before], NOW) == [marked]
    known = replace(marked_before, by_hand_marked=True)
    assert plan(replace(ROLLOUT, state=RolloutState.FINISHED), [known], NOW) == []
