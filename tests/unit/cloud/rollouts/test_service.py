"""Rollouts on a real database: what is stored, what is published, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cloud.errors import ConflictError, HubError
from cloud.fleet import service as fleet
from cloud.rollouts import service
from cloud.rollouts.running.engine import Engine
from cloud.rollouts.states import Outcome, RolloutState
from protocol.messages import ExecutionReport
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub

S = ExecutionState
DEVICES = [f"dev-{n}" for n in range(6)]
ONE = {"devices": ["dev-0"]}


def states(hub: Hub, rollout_id: str) -> dict[tuple[str, int], str]:
    return {key: row.state for key, row in hub.executions(rollout_id).items()}


def test_waves_go_out_one_after_the_other(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"selector": "line=a"}, {"percent": 100}], soak_s=30)
    hub.settle()
    assert {t.device_id for t, _ in hub.published.messages} == {"dev-0", "dev-1"}

    for device_id in ("dev-0", "dev-1"):
        hub.succeed(device_id)
    hub.settle(29)
    assert len(hub.published.messages) == 2
    hub.settle(1)
    assert {t.device_id for t, _ in hub.published.messages} == set(DEVICES)

    for device_id in DEVICES[2:]:
        hub.succeed(device_id)
    hub.settle()
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.outcome) == (RolloutState.FINISHED, Outcome.SUCCEEDED)
    wanted = hub.published.desired("dev-3")[-1].slots[MODEL]
    assert (wanted.rollout_id, wanted.attempt, wanted.bundle_digest) == (
        rollout_id,
        1,
        DIGESTS[1],
    )


def test_looking_again_changes_nothing(hub: Hub) -> None:
    rollout_id = hub.create()
    hub.settle()
    before = (states(hub, rollout_id), len(hub.published.messages))

    hub.settle()

    assert before == (states(hub, rollout_id), len(hub.published.messages))


def test_two_engines_never_act_twice(hub: Hub) -> None:
    other = Engine(hub.database, 1.0)
    hub.create()
    hub.settle()
    hub.create(version=2)

    assert not other.tick(hub.now)
    assert len(hub.published.messages) == 6
    while other.tick(hub.now + 11):  # the first engine's lease has run out
        pass
    assert len(hub.published.messages) == 12 + 6
    assert not hub.engine.tick(hub.now + 11)


def test_reports_never_move_an_execution_back(hub: Hub) -> None:
    rollout_id = hub.create(**ONE)
    hub.settle()

    assert hub.report("dev-0", S.PROVING)
    assert not hub.report("dev-0", S.DOWNLOADING)
    assert hub.report("dev-0", S.SUCCEEDED)
    assert not hub.report("dev-0", S.FAILED)
    assert states(hub, rollout_id) == {("dev-0", 1): "SUCCEEDED"}


def test_reports_of_other_attempts_builds_and_rollouts_are_ignored(hub: Hub) -> None:
    rollout_id = hub.create(**ONE)
    hub.settle()
    report = ExecutionReport(
        rollout_id=rollout_id, attempt=1, slot=MODEL, bundle_digest=DIGESTS[1], state=S.FAILED
    )

    for change in ({"attempt": 2}, {"rollout_id": "x"}, {"rollout_id": None}):
        assert not hub.tell("dev-0", report.model_copy(update=change))
    assert not hub.tell("dev-0", report.model_copy(update={"bundle_digest": DIGESTS[2]}))
    assert not hub.tell("dev-1", report)
    assert states(hub, rollout_id) == {("dev-0", 1): "QUEUED"}


def test_a_failure_pauses_restores_what_was_desired_and_is_acknowledged(hub: Hub) -> None:
    hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    rollout_id = hub.create(version=2, waves=[{"count": 3}])
    hub.settle()
    started = [key[0] for key, row in hub.executions(rollout_id).items() if row.started_at]
    for device_id in started:
        hub.report(device_id, S.ROLLED_BACK, "golden frames differ")

    hub.settle()

    paused = hub.rollout(rollout_id)
    assert (paused.state, paused.reason) == ("PAUSED", "3 devices failed; 0 are tolerated")
    for device_id in started:
        slots = hub.published.desired(device_id)[-1].slots
        before = {MODEL: DIGESTS[1]} if device_id == "dev-0" else {}
        assert {name: slot.bundle_digest for name, slot in slots.items()} == before
    hub.call(service.resume, rollout_id)
    hub.settle()
    assert hub.rollout(rollout_id).state == "RUNNING"
    assert sum(row.started_at is not None for row in hub.executions(rollout_id).values()) == 6


def test_a_silent_device_times_out_and_is_told_nothing_when_it_comes_back(hub: Hub) -> None:
    rollout_id = hub.create(**ONE, step_timeout_s=60, total_timeout_s=100)
    hub.settle()
    hub.settle(61)

    assert states(hub, rollout_id) == {("dev-0", 1): "TIMED_OUT"}
    assert hub.rollout(rollout_id).outcome == Outcome.FAILED
    assert hub.published.desired("dev-0")[-1].slots == {}


def test_of_many_attempts_those_in_shadow_are_shown_too(hub: Hub) -> None:
    rollout_id = hub.create()
    hub.settle()
    started = sorted(k for k, row in hub.executions(rollout_id).items() if row.started_at)
    hub.report(started[-1][0], ExecutionState.SHADOWING)
    with hub.database.reading() as session:
        rollout = service.get(session, ADMIN, rollout_id)
        shown = [
            [row.device_id for row in service.first_executions(session, rollout, limit)]
            for limit in (1, 1000)
        ]
    assert shown[0][1:] == [started[-1][0]]
    assert len(shown[1]) == len(set(shown[1])) == 6


def test_a_newer_rollout_takes_the_slot(hub: Hub) -> None:
    older = hub.create(waves=[{"count": 2}])
    hub.settle()
    newer = hub.create(version=2)
    hub.settle()

    assert set(states(hub, older).values()) == {"SUPERSEDED"}
    assert hub.rollout(older).state == "FINISHED"
    assert {row.digest for row in hub.executions(newer).values()} == {DIGESTS[2]}
    for device_id in DEVICES:
        assert hub.published.desired(device_id)[-1].slots[MODEL].rollout_id == newer


def test_a_device_that_runs_something_else_later_gets_a_new_attempt(hub: Hub) -> None:
    rollout_id = hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    hub.runs("dev-0", DIGESTS[2], after_s=-5)  # said before it succeeded
    hub.settle()
    assert list(states(hub, rollout_id)) == [("dev-0", 1)]

    hub.runs("dev-0", DIGESTS[2])
    hub.settle()
    hub.settle(30)

    rows = hub.executions(rollout_id)
    assert rows["dev-0", 1].diverged
    assert states(hub, rollout_id) == {("dev-0", 1): "SUCCEEDED", ("dev-0", 2): "QUEUED"}
    assert hub.published.desired("dev-0")[-1].slots[MODEL].attempt == 2


def test_a_finished_rollout_that_holds_no_slot_is_watched_no_more(hub: Hub) -> None:
    older = hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    assert hub.rollout(older).watched
    hub.create(version=2, **ONE)
    hub.settle()
    hub.engine.tick(hub.now)
    assert not hub.rollout(older).watched


def test_cancel_keeps_what_succeeded_and_gives_the_rest_up(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 2}], failed_max=9, success_percent=50)
    hub.settle()
    first, second = [k[0] for k, row in hub.executions(rollout_id).items() if row.started_at]
    hub.succeed(first)

    hub.call(service.cancel, rollout_id)
    hub.settle()

    assert hub.rollout(rollout_id).state == "STOPPED"
    assert states(hub, rollout_id)[first, 1] == "SUCCEEDED"
    assert hub.published.desired(first)[-1].slots[MODEL].bundle_digest == DIGESTS[1]
    assert hub.published.desired(second)[-1].slots == {}
    with pytest.raises(ConflictError, match="STOPPED"):
        hub.call(service.resume, rollout_id)


def test_an_approval_is_waited_for(hub: Hub) -> None:
    rollout_id = hub.create(needs_approval=True)
    hub.settle()
    assert hub.published.messages == []

    hub.call(service.approve, rollout_id)
    hub.settle()

    assert len(hub.published.messages) == 6


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"version": 9}, "there is no version 9 of caps"),
        ({"model": "nothing"}, "there is no model nothing"),
        ({"version": None, "bundle_digest": "9" * 64}, "there is no build 999999999999"),
        ({"devices": ["dev-0", "ghost"]}, "devices: not enrolled: ghost"),
        ({"devices": ["shelf"]}, "shelf does not run caps"),
        ({"selector": "site=moon"}, "selector: no device that runs caps fits site=moon"),
        ({"devices": []}, "devices: it names none"),
        ({"waves": [{"selector": "line=z"}]}, "waves.0.selector: no remaining device fits line=z"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    hub: Hub, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(HubError, match=said) as refused:
        hub.create(**asked)
    assert refused.value.remedy


def test_without_any_device_it_is_not_the_selector_that_is_wrong(hub: Hub) -> None:
    with hub.database.transaction() as session:
        for device in fleet.list_devices(session, ADMIN):
            device.models = [name for name in device.models if name != "caps"]
            session.add(device)
    with pytest.raises(HubError, match=r"^no device uses caps; ") as refused:
        hub.create()
    assert refused.value.remedy.startswith("enrol one: ")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"waves": [{"percent": 50}, {"percent": 10}]}, "waves.1.percent: 10 is not above 50"),
        ({"waves": [{"count": 0}]}, "waves.0.count"),
        ({"waves": [{"percent": 0}]}, "waves.0.percent"),
        ({"waves": [{"percent": 10, "count": 1}]}, "give exactly one"),
        ({"waves": [{}]}, "give exactly one"),
        ({"bundle_digest": "1" * 64}, "version: bundle_digest names a build, too"),
        ({"version": None}, "version: it is missing"),
        ({"total_timeout_s": 5}, "total_timeout_s: 5 is below step_timeout_s"),
        ({"probation_s": 900}, "step_timeout_s: 900 would end devices in their probation"),
        ({"wawes": []}, "wawes"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_by_field(
    hub: Hub, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        hub.create(**asked)
