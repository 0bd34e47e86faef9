"""What the hub could not hear is no silence of a device: its timers wait until it has listened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import EndExecution
from cloud.rollouts.running.engine import Engine
from cloud.rollouts.states import Outcome
from protocol.states import ExecutionEvent
from tests.unit.cloud.rollouts.conftest import DIGESTS, MODEL, Hub
from tests.unit.cloud.rollouts.views import NOW, ROLLOUT, STOPPING, WAITING, S, flying

AWAY_S = 1200.0
LATE: list[dict[str, Any]] = [{"step_at": NOW - 1000}, {"started_at": NOW - 4000}]


class Ears:
    """What brings devices' words to the engine."""

    def __init__(self) -> None:
        self.since: float | None = 0.0

    def hears_since(self) -> float | None:
        return self.since


@pytest.mark.parametrize("values", LATE)
@pytest.mark.parametrize("heard_since", [None, NOW, NOW - 900])
def test_no_timer_ends_what_the_hub_may_not_have_heard(
    heard_since: float | None, values: dict[str, Any]
) -> None:
    rollout = replace(ROLLOUT, heard_since=heard_since)

    assert plan(rollout, [flying(S.PROBATION, **values), WAITING], NOW) == []


@pytest.mark.parametrize("values", LATE)
def test_once_the_hub_has_listened_for_a_step_the_timers_count(values: dict[str, Any]) -> None:
    rollout = replace(ROLLOUT, heard_since=NOW - 901)

    (end,) = plan(rollout, [flying(S.PROBATION, **values), WAITING], NOW)

    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.TIMER_EXPIRED


def test_what_people_decide_waits_for_no_link() -> None:
    (end,) = plan(replace(STOPPING, heard_since=None), [flying()], NOW)

    assert isinstance(end, EndExecution)
    assert end.event is ExecutionEvent.CANCEL_REQUESTED


def in_probation(hub: Hub) -> str:
    """A rollout of one device, which serves the build on trial."""
    rollout_id = hub.create(devices=["dev-0"])
    hub.settle()
    hub.report("dev-0", S.PROBATION)
    hub.settle()
    return rollout_id


def state(hub: Hub, rollout_id: str) -> str:
    return hub.executions(rollout_id)["dev-0", 1].state


def test_a_hub_that_was_stopped_takes_back_nothing_that_went_well_meanwhile(hub: Hub) -> None:
    rollout_id = in_probation(hub)

    hub.engine = Engine(hub.database, 1.0)
    hub.settle(AWAY_S)
    assert state(hub, rollout_id) == "PROBATION"
    hub.report("dev-0", S.SUCCEEDED)
    hub.settle()

    assert hub.rollout(rollout_id).outcome == Outcome.SUCCEEDED
    assert hub.published.desired("dev-0")[-1].slots[MODEL].bundle_digest == DIGESTS[1]


def test_nothing_is_ended_while_the_hub_is_deaf_nor_at_once_when_it_hears(hub: Hub) -> None:
    ears = Ears()
    hub.engine = Engine(hub.database, 1.0, hears_since=ears.hears_since)
    rollout_id = in_probation(hub)

    ears.since = None
    for _ in range(3):
        hub.settle(AWAY_S)
        assert state(hub, rollout_id) == "PROBATION"
    ears.since = hub.now
    hub.settle(900)
    assert state(hub, rollout_id) == "PROBATION"

    hub.settle(1)
    assert state(hub, rollout_id) == "TIMED_OUT"
