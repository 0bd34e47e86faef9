"""Giving a rollout up: keeping what there is, or bringing back what was before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import (
    EndExecution,
    NoWayBack,
    PacePolicy,
    StartExecution,
    Stop,
)
from cloud.rollouts.states import RolloutState
from protocol.states import ExecutionEvent
from tests.simulation.rollouts.builds import OTHER
from tests.unit.cloud.rollouts.views import (
    NOW,
    REVERTING,
    ROLLOUT,
    STOPPING,
    S,
    brought,
    device,
    done,
    flying,
    policy,
)


def returning(name: str, state: S, **values: Any) -> Any:
    given = {"attempt": 2, "reverts": True, "digest": OTHER, **values}
    return replace(done(name, state), **given)


def test_what_is_not_exchanged_is_given_up_first_and_says_why() -> None:
    ends = plan(REVERTING, [brought("a"), device("b"), flying(name="c")], NOW)
    assert [(e.device_id, e.event) for e in ends if isinstance(e, EndExecution)] == [
        ("b", ExecutionEvent.CANCEL_REQUESTED),
        ("c", ExecutionEvent.CANCEL_REQUESTED),
    ]
    assert {getattr(e, "reason", "") for e in ends} == {"the gate says FAIL"}


def test_every_device_with_the_build_gets_what_it_had_before() -> None:
    views = [brought("a"), done("b", S.ROLLED_BACK, return_digest=OTHER), brought("c", attempt=3)]
    assert plan(REVERTING, views, NOW) == [
        StartExecution("a", 2, OTHER, reverts=True),
        StartExecution("c", 4, OTHER, reverts=True),
    ]
    # To keep is to leave them alone.
    assert plan(STOPPING, views, NOW) == [Stop(left=2)]


@pytest.mark.parametrize("digest", [None, OTHER])
def test_who_cannot_go_back_says_why_and_is_counted_as_left(digest: str | None) -> None:
    left = brought("a", return_digest=digest, no_return="below the floor")
    assert plan(REVERTING, [left], NOW) == [NoWayBack("a", 2, "below the floor")]
    said = returning("a", S.CANCELED, started_at=None, owned=False)
    assert plan(REVERTING, [said], NOW) == [Stop(0, 1)]


@pytest.mark.parametrize("values", [{"owned": False}, {"pinned": True}])
def test_whose_slot_another_has_is_left_alone(values: dict[str, Any]) -> None:
    assert plan(REVERTING, [brought("a", **values)], NOW) == [Stop(0, 0)]


def test_who_gave_the_attempt_up_keeps_nothing_to_tell_of() -> None:
    given_up = replace(brought("a", no_return="below the floor"), state=S.CANCELED)
    assert plan(REVERTING, [given_up], NOW) == [Stop(0, 1)]


def test_what_only_says_why_takes_no_room() -> None:
    few = policy(in_flight_max=1)
    views = [brought("a", no_return="below the floor"), brought("b"), brought("c")]
    assert plan(replace(REVERTING, policy=few), views, NOW) == [
        NoWayBack("a", 2, "below the floor"),
        StartExecution("b", 2, OTHER, reverts=True),
    ]


def test_who_was_lost_after_the_word_to_its_site_is_told_too() -> None:
    lost = replace(brought("a"), state=S.TIMED_OUT, released=True)
    assert plan(REVERTING, [lost], NOW) == [StartExecution("a", 2, OTHER, reverts=True)]


def test_who_is_outranked_goes_back_until_the_newer_rollout_comes_to_it() -> None:
    assert plan(REVERTING, [brought("a", newer=True)], NOW) == [
        StartExecution("a", 2, OTHER, reverts=True)
    ]
    back = returning("a", S.DOWNLOADING, ended_at=None, owned=True, newer=True)
    assert plan(REVERTING, [back], NOW) == []
    (end,) = plan(REVERTING, [replace(back, owned=False)], NOW)
    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.NEWER_DESIRED


def test_an_exchange_under_way_is_let_end_before_it_is_taken_back() -> None:
    swapping = flying(S.PROBATION, return_digest=OTHER)
    assert plan(REVERTING, [swapping], NOW) == []


def test_a_device_on_its_way_back_is_not_called_off() -> None:
    back = returning("a", S.DOWNLOADING, ended_at=None, owned=True)
    assert plan(REVERTING, [back], NOW) == []
    (end,) = plan(REVERTING, [back], NOW + 1000)
    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.TIMER_EXPIRED


def test_the_end_counts_who_is_back_and_who_is_not() -> None:
    views = [
        returning("a", S.SUCCEEDED),
        returning("b", S.TIMED_OUT),
        returning("c", S.SUPERSEDED),
        returning("f", S.CANCELED),
        done("d", S.CANCELED),
        returning("e", S.CANCELED, started_at=None, owned=False),
    ]
    assert plan(REVERTING, views, NOW) == [Stop(reverted=1, left=3)]


def test_ceilings_hold_on_the_way_back_and_the_ramp_does_not() -> None:
    views = [brought(f"d{n}", started_at=NOW - 300) for n in range(30)]
    ramp = PacePolicy(1.0, factor=2.0, after_succeeded=100)
    assert len(plan(replace(REVERTING, policy=policy(pace=ramp)), views, NOW)) == 30
    capped = policy(pace=replace(ramp, per_minute_max=60.0))
    assert len(plan(replace(REVERTING, policy=capped), views, NOW)) == 10
    few = policy(in_flight_max=4)
    assert len(plan(replace(REVERTING, policy=few), views, NOW)) == 4


@pytest.mark.parametrize("state", [S.QUEUED, S.DOWNLOADING, S.PREPARED])
def test_a_pin_takes_the_slot_before_the_exchange(state: S) -> None:
    pinned = (device if state is S.QUEUED else flying)(state=state, pinned=True)
    (end,) = plan(ROLLOUT, [pinned, device("later", wave=1)], NOW)
    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.NEWER_DESIRED
    assert "pinned" in end.reason


def test_a_pinned_device_is_neither_tried_again_nor_called_diverged() -> None:
    odd = done("a", pinned=True, running_digest=OTHER)
    assert plan(replace(ROLLOUT, state=RolloutState.FINISHED), [odd], NOW) == []
