"""What failures do to a rollout, and when they are none yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    Abort,
    ErrorPolicy,
    Finish,
    NextWave,
    PacePolicy,
    Pause,
    StartExecution,
)
from cloud.rollouts.states import Outcome, RolloutState
from tests.simulation.rollouts.builds import DIGEST, OTHER
from tests.unit.cloud.rollouts.views import (
    NOW,
    ROLLOUT,
    WAITING,
    S,
    device,
    done,
    policy,
)

RETRIED = frozenset({S.FAILED, S.TIMED_OUT})


def errors(*asked: tuple[set[str], float, int, Any], **values: Any) -> Any:
    found = tuple(ErrorPolicy(frozenset(k), p, least, then) for k, p, least, then in asked)
    return replace(ROLLOUT, policy=policy(**{"failed_max": None, "errors": found, **values}))


def ends(state: S, number: int, **values: Any) -> list[Any]:
    return [done(f"{state.value}-{n}", state, **values) for n in range(number)]


@pytest.mark.parametrize(("failed", "reacts"), [(1, False), (2, False), (3, True)])
def test_more_than_its_percentage_of_the_executed_reacts(failed: int, reacts: bool) -> None:
    rollout = errors(({"ROLLED_BACK"}, 20.0, 1, "abort"))
    views = [*ends(S.ROLLED_BACK, failed), *ends(S.SUCCEEDED, 10 - failed), WAITING]

    actions = plan(rollout, views, NOW)

    assert isinstance(actions[0], Abort) == reacts
    if isinstance(actions[0], Abort):
        assert not actions[0].revert
        assert actions[0].reason.startswith("3 of 10 devices ended in ROLLED_BACK; 20 %")


def test_below_the_least_number_nothing_is_said() -> None:
    rollout = errors(({"FAILED"}, 0.0, 5, "pause"))
    assert isinstance(plan(rollout, [*ends(S.FAILED, 5), WAITING], NOW)[0], Pause)
    # Devices of which nothing is known are none that were executed.
    views = [*ends(S.FAILED, 4), *ends(S.NO_ARTIFACT, 9), *ends(S.SUPERSEDED, 9), device("a")]
    assert isinstance(plan(rollout, [*views, WAITING], NOW)[0], StartExecution)


def test_other_kinds_and_what_was_acknowledged_do_not_count() -> None:
    rollout = errors(({"REJECTED", "TIMED_OUT"}, 10.0, 1, "pause"))
    views = [*ends(S.FAILED, 5), *ends(S.REJECTED, 1, acknowledged=True), device("a"), WAITING]
    assert isinstance(plan(rollout, views, NOW)[0], StartExecution)
    assert isinstance(plan(rollout, [*views, done("t", S.TIMED_OUT)], NOW)[0], Pause)


def test_the_strongest_reaction_is_taken() -> None:
    asked = [({"FAILED"}, 0.0, 1, "pause"), ({"FAILED"}, 5.0, 1, "revert")]
    rollout = errors(*asked, ({"FAILED"}, 1.0, 1, "abort"), failed_max=0)

    (abort,) = plan(rollout, [*ends(S.FAILED, 1), WAITING], NOW)

    assert isinstance(abort, Abort)
    assert abort.revert


def test_a_rollout_that_is_to_be_taken_back_does_not_finish_instead() -> None:
    views = [*ends(S.ROLLED_BACK, 3), *ends(S.SUCCEEDED, 2)]
    (abort,) = plan(errors(({"ROLLED_BACK"}, 50.0, 1, "revert")), views, NOW)
    assert isinstance(abort, Abort)
    # Where all have ended there is nothing to hold back any more.
    held = errors(({"ROLLED_BACK"}, 50.0, 1, "abort"))
    assert plan(held, views, NOW) == [Finish(Outcome.PARTIAL)]


def test_devices_that_run_something_else_count_as_diverged() -> None:
    rollout = errors(({"DIVERGED"}, 10.0, 1, "pause"), attempts_max=1)
    odd = done("o", running_digest=OTHER, diverged=True)
    assert isinstance(plan(rollout, [odd, WAITING], NOW)[0], Pause)
    # A person has gone on: it is no success, and holds its wave up no more.
    known = replace(odd, acknowledged=True)
    assert plan(rollout, [known, WAITING], NOW) == [NextWave(1)]
    # It runs the build again.
    assert plan(rollout, [replace(odd, running_digest=DIGEST), WAITING], NOW) == [NextWave(1)]


def test_a_wave_of_diverged_devices_is_no_success() -> None:
    rollout = replace(ROLLOUT, policy=policy(attempts_max=1))
    odd = done("o", running_digest=OTHER, diverged=True)

    (pause,) = plan(rollout, [odd, WAITING], NOW)
    assert isinstance(pause, Pause)
    assert pause.reason == "wave 1: 0 % of 1 devices succeeded; 100 % are asked"
    assert plan(rollout, [odd], NOW) == [Finish(Outcome.FAILED)]


def test_a_failed_device_is_tried_again_before_it_counts() -> None:
    rollout = replace(ROLLOUT, policy=policy(retries=2, retry_kinds=RETRIED))
    failed = done("f", S.FAILED, ended_at=NOW)

    assert plan(rollout, [failed, WAITING], NOW + 299) == []
    assert plan(rollout, [failed, WAITING], NOW + 300) == [StartExecution("f", 2, DIGEST)]
    twice = replace(failed, attempt=2)
    assert plan(rollout, [twice, WAITING], NOW + 300) == [StartExecution("f", 3, DIGEST)]
    assert isinstance(plan(rollout, [replace(failed, attempt=3), WAITING], NOW)[0], Pause)


@pytest.mark.parametrize(
    "values",
    [
        {"state": S.ROLLED_BACK},
        {"state": S.REJECTED},
        {"newer": True},
        {"pinned": True},
        {"digest": OTHER},
        {"state": S.TIMED_OUT, "inconclusive": True},
    ],
)
def test_who_is_not_tried_again(values: dict[str, Any]) -> None:
    rollout = replace(ROLLOUT, policy=policy(retries=2, retry_kinds=RETRIED, failed_max=9))
    failed = replace(done("f", S.FAILED), **values)
    later = NOW + 1e5
    assert not any(isinstance(a, StartExecution) for a in plan(rollout, [failed, WAITING], later))


def test_a_rollout_waits_for_attempts_that_are_still_to_come() -> None:
    rollout = replace(ROLLOUT, policy=policy(retries=1, retry_kinds=RETRIED))
    failed = done("f", S.TIMED_OUT, ended_at=NOW)
    for state in (RolloutState.RUNNING, RolloutState.PAUSED):
        assert plan(replace(rollout, state=state), [failed, done("a")], NOW) == []
    # Nor does a wave end, or a pause start anything.
    assert plan(rollout, [failed, done("a"), WAITING], NOW) == []
    assert plan(replace(rollout, state=RolloutState.PAUSED), [failed, WAITING], NOW + 400) == []


def test_an_attempt_does_not_hide_the_one_before_from_the_pace() -> None:
    paced = policy(retries=1, retry_kinds=RETRIED, retry_after_s=1.0, pace=PacePolicy(9.0))
    failed = done("f", S.FAILED, started_at=NOW, ended_at=NOW)
    rollout = replace(ROLLOUT, policy=paced)
    assert plan(rollout, [failed, WAITING], NOW + 59) == []
    assert plan(rollout, [failed, WAITING], NOW + 60) == [StartExecution("f", 2, DIGEST)]
