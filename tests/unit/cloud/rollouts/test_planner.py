"""The planner's decisions, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    EndExecution,
    Finish,
    MarkDiverged,
    NextWave,
    Pause,
    Policy,
    StartExecution,
    Stop,
    WavePolicy,
)
from cloud.rollouts.states import Outcome, RolloutState
from protocol.states import ExecutionEvent
from tests.simulation.rollouts.builds import ABLE, DIGEST, IDENTITY, OTHER, UNABLE
from tests.unit.cloud.rollouts.views import (
    BUILDS,
    NOW,
    ROLLOUT,
    WAITING,
    S,
    device,
    done,
    flying,
)


def test_starts_only_the_current_wave() -> None:
    assert plan(ROLLOUT, [device("a"), WAITING], NOW) == [StartExecution("a", 1, DIGEST)]


def test_nothing_is_sent_to_a_device_that_no_build_fits() -> None:
    actions = plan(ROLLOUT, [device(capabilities=UNABLE), WAITING], NOW)

    assert [(type(a), getattr(a, "event", None)) for a in actions] == [
        (EndExecution, ExecutionEvent.NOTHING_FITS)
    ]
    assert "needs the runtime onnxruntime; the device has none" in str(actions[0])


def test_the_best_build_that_fits_is_taken_in_whatever_order_they_come() -> None:
    engine = BuildOffer(OTHER, IDENTITY.model_copy(update={"runtime": "tensorrt"}))
    faster = BuildOffer("c" * 64, IDENTITY, latency_ms=3.0)
    builds = (engine, BuildOffer(DIGEST, IDENTITY, latency_ms=5.0), faster)

    for order in (builds, builds[::-1]):
        (start,) = plan(replace(ROLLOUT, builds=order), [device(capabilities=ABLE)], NOW)
        assert start == StartExecution("d", 1, faster.digest)


def test_a_device_that_was_never_heard_gets_the_build_that_asks_least() -> None:
    engine = BuildOffer(OTHER, IDENTITY.model_copy(update={"runtime": "tensorrt"}))
    rollout = replace(ROLLOUT, builds=(engine, *BUILDS))

    assert plan(rollout, [device()], NOW) == [StartExecution("d", 1, DIGEST)]


@pytest.mark.parametrize("values", [{"admitted": False}, {"revoked": True}])
@pytest.mark.parametrize("capabilities", [ABLE, None])
def test_a_build_that_was_rejected_or_revoked_meanwhile_is_given_to_nobody(
    values: dict[str, Any], capabilities: Any
) -> None:
    rollout = replace(ROLLOUT, builds=(BuildOffer(DIGEST, IDENTITY, **values),))

    (end,) = plan(rollout, [device(capabilities=capabilities)], NOW)

    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.NOTHING_FITS
    assert "rejected" in end.reason or "revoked" in end.reason


@pytest.mark.parametrize("state", [S.QUEUED, S.VERIFIED, S.SWAPPING, S.PROBATION])
@pytest.mark.parametrize(
    ("values", "word"),
    [({"step_at": NOW - 901}, "no step after"), ({"started_at": NOW - 3601}, "not done after")],
)
def test_timers_end_a_silent_device(state: S, values: dict[str, Any], word: str) -> None:
    (action,) = plan(ROLLOUT, [flying(state, **values), WAITING], NOW)

    assert isinstance(action, EndExecution)
    assert action.event is ExecutionEvent.TIMER_EXPIRED
    assert word in action.reason


@pytest.mark.parametrize("state", [S.DOWNLOADING, S.BUILDING])
def test_a_device_that_is_there_ends_its_long_work_itself(state: S) -> None:
    long = flying(state, started_at=NOW - 3500, step_at=NOW - 3500)
    there, heard = replace(long, online=True), replace(long, heard_at=NOW - 900)
    gone, late = replace(long, heard_at=NOW - 901), replace(there, started_at=NOW - 3601)

    assert plan(ROLLOUT, [there, replace(heard, device_id="h"), WAITING], NOW) == []
    for ended, word in ((gone, f"no word after {state.value} for 900 s"), (late, "not done")):
        (end,) = plan(ROLLOUT, [ended, WAITING], NOW)
        assert isinstance(end, EndExecution)
        assert end.event is ExecutionEvent.TIMER_EXPIRED
        assert word in end.reason


@pytest.mark.parametrize("values", [{"newer": True}, {"owned": False}])
def test_a_newer_desire_supersedes_before_the_exchange(values: dict[str, Any]) -> None:
    (action,) = plan(ROLLOUT, [flying(**values), WAITING], NOW)

    assert isinstance(action, EndExecution)
    assert action.event is ExecutionEvent.NEWER_DESIRED
    assert plan(ROLLOUT, [flying(S.SWAPPING, **values), WAITING], NOW) == []


def test_one_failure_over_the_maximum_pauses_before_anything_starts() -> None:
    views = [done("a", S.ROLLED_BACK), device("b"), WAITING]

    (pause,) = plan(ROLLOUT, views, NOW)
    assert isinstance(pause, Pause)
    tolerant = replace(ROLLOUT, policy=Policy(failed_max=1))
    assert plan(tolerant, views, NOW) == [StartExecution("b", 1, DIGEST)]


def test_acknowledged_failures_neither_pause_nor_hold_the_gate() -> None:
    views = [done("a", S.FAILED, acknowledged=True), WAITING]
    assert plan(ROLLOUT, views, NOW) == [NextWave(1)]


@pytest.mark.parametrize(("asked", "expected"), [(50, [NextWave(1)]), (51, [])])
def test_the_gate_opens_at_its_percentage(asked: float, expected: list[object]) -> None:
    rollout = replace(ROLLOUT, policy=Policy(waves=(WavePolicy(success_percent=asked),)))
    assert plan(rollout, [done("a"), flying(), WAITING], NOW) == expected


def test_a_wave_below_its_percentage_pauses_when_all_have_ended() -> None:
    policy = Policy(failed_max=9, waves=(WavePolicy(success_percent=60),))
    rollout = replace(ROLLOUT, policy=policy)

    (pause,) = plan(rollout, [done("a"), done("b", S.TIMED_OUT), WAITING], NOW)

    assert isinstance(pause, Pause)
    assert pause.reason == "wave 1: 50 % of 2 devices succeeded; 60 % are asked"


def test_a_wave_soaks_after_its_last_success() -> None:
    rollout = replace(ROLLOUT, policy=Policy(waves=(WavePolicy(soak_s=30),)))
    views = [done("a"), done("b", S.NO_ARTIFACT), WAITING]

    assert plan(rollout, views, NOW + 24.9) == []
    assert plan(rollout, views, NOW + 25) == [NextWave(1)]


def test_a_success_that_runs_something_else_is_tried_again_a_bounded_number_of_times() -> None:
    odd = done("a", running_digest=OTHER)

    (marked,) = plan(ROLLOUT, [odd, WAITING], NOW)
    assert isinstance(marked, MarkDiverged)
    known = replace(odd, diverged=True, step_at=NOW)
    assert StartExecution("a", 2, DIGEST) not in plan(ROLLOUT, [known, WAITING], NOW + 29)
    assert plan(ROLLOUT, [known, WAITING], NOW + 30) == [StartExecution("a", 2, DIGEST)]
    last = replace(odd, attempt=3, diverged=True)
    assert plan(replace(ROLLOUT, state=RolloutState.FINISHED), [last], NOW) == []


@pytest.mark.parametrize("values", [{"owned": False}, {"newer": True}, {"running_digest": DIGEST}])
def test_what_another_rollout_brought_is_no_divergence(values: dict[str, Any]) -> None:
    odd = done("a", **{"running_digest": OTHER, **values})
    assert plan(replace(ROLLOUT, state=RolloutState.FINISHED), [odd], NOW) == []


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ([S.SUCCEEDED, S.SUCCEEDED], Outcome.SUCCEEDED),
        ([S.SUCCEEDED, S.ROLLED_BACK], Outcome.PARTIAL),
        ([S.NO_ARTIFACT, S.ROLLED_BACK], Outcome.FAILED),
    ],
)
def test_it_finishes_when_nothing_is_left(states: list[S], outcome: Outcome) -> None:
    views = [done(f"d{n}", state) for n, state in enumerate(states)]
    for state in (RolloutState.RUNNING, RolloutState.PAUSED):
        assert plan(replace(ROLLOUT, state=state), views, NOW) == [Finish(outcome)]


def test_a_pause_starts_nothing_but_keeps_the_timers() -> None:
    paused = replace(ROLLOUT, state=RolloutState.PAUSED)

    assert plan(paused, [device("a"), flying()], NOW) == []
    assert len(plan(paused, [device("a"), flying()], NOW + 5000)) == 1


def test_stopping_cancels_what_has_not_been_exchanged_and_waits_for_the_rest() -> None:
    stopping = replace(ROLLOUT, state=RolloutState.STOPPING)
    swapping = replace(flying(S.SWAPPING), device_id="s")

    ends = plan(stopping, [device("a"), flying(), swapping], NOW)
    assert [getattr(e, "event", None) for e in ends] == [ExecutionEvent.CANCEL_REQUESTED] * 2
    assert plan(stopping, [swapping], NOW) == []
    assert plan(stopping, [done("a", S.CANCELED)], NOW) == [Stop()]


@pytest.mark.parametrize("state", [RolloutState.WAITING_FOR_APPROVAL, RolloutState.STOPPED])
def test_other_states_ask_for_nothing(state: RolloutState) -> None:
    assert plan(replace(ROLLOUT, state=state), [device("a")], NOW) == []


@pytest.mark.parametrize("revoked", [True, False])
def test_what_was_revoked_or_rejected_meanwhile_is_withdrawn(revoked: bool) -> None:
    builds = tuple(replace(o, revoked=revoked, admitted=revoked) for o in ROLLOUT.builds)
    before, after = flying(S.PREPARED), replace(flying(S.PROBATION), device_id="b")

    planned = plan(replace(ROLLOUT, builds=builds), [before, after, WAITING], NOW)

    reason = "its build was revoked or rejected meanwhile"
    event = ExecutionEvent.CANCEL_REQUESTED
    assert planned == [EndExecution(before.device_id, 1, event, reason)]
