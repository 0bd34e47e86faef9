"""What a device had before a rollout: what really served there, whatever its slot desires."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry.models import Build
from cloud.rollouts import service
from cloud.rollouts.running.going_back import left_for
from protocol.messages import ExecutionReport, SlotDesired, SlotReported
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState
from tests.fixtures.registered import add_version
from tests.simulation.rollouts.builds import IDENTITY
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub
from tests.unit.cloud.rollouts.test_policies import ONE, reported, slot, walk

S = ExecutionState
OLD, NEW = DIGESTS[1], DIGESTS[2]
NEWEST = "3" * 64
DESIRED = SlotDesired(
    bundle_digest=NEW, manifest_bytes=500, model=MODEL, version=2, rollout_id="r", attempt=2
)


def said(state: S = S.CANCELED, running: str | None = OLD, **other: Any) -> SlotReported:
    """A device's word on the attempt that is desired, where `other` does not name another."""
    attempt = {"rollout_id": "r", "attempt": 2, "bundle_digest": NEW, **other}
    told = ExecutionReport.model_validate({"slot": MODEL, "state": state, **attempt})
    return SlotReported(running_digest=running, execution=told)


def taken_back(hub: Hub) -> str:
    """A rollout that succeeded, and is to be taken back."""
    rollout_id = hub.create(**ONE, version=3)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    hub.call(partial(service.abort, revert=True, remark="it sees less"), rollout_id)
    hub.settle()
    return rollout_id


@pytest.mark.parametrize("state", sorted(TERMINAL_EXECUTION_STATES))
def test_what_runs_once_the_desired_attempt_is_over_is_what_serves(state: S) -> None:
    assert left_for(DESIRED, said(state)) == OLD
    assert left_for(DESIRED, said(state, running=NEW)) is None
    assert left_for(DESIRED, said(state, running=None)) is None


@pytest.mark.parametrize("state", sorted(set(S) - TERMINAL_EXECUTION_STATES))
def test_what_is_under_way_may_yet_come_to_serve(state: S) -> None:
    assert left_for(DESIRED, said(state)) is None


@pytest.mark.parametrize(
    "other", [{"rollout_id": "q"}, {"rollout_id": None}, {"attempt": 1}, {"bundle_digest": NEWEST}]
)
def test_a_word_on_another_attempt_says_nothing_of_this_one(other: dict[str, Any]) -> None:
    assert left_for(DESIRED, said(S.SUCCEEDED, **other)) is None


def test_where_nothing_is_said_of_an_attempt_the_desired_stands() -> None:
    assert left_for(DESIRED, None) is None
    assert left_for(DESIRED, SlotReported(running_digest=OLD, by_hand=True)) is None


def test_an_attempt_by_hand_is_told_apart_too() -> None:
    by_hand = DESIRED.model_copy(update={"rollout_id": None})
    assert left_for(by_hand, said(S.SUCCEEDED, rollout_id=None)) == OLD


# ---- over the hub -------------------------------------------------------------------------


def reports(hub: Hub, running: str, state: S, *, by_hand: bool = False) -> None:
    """The device's report, with its word on what is desired of it now."""
    wanted = slot(hub, "dev-0")
    told = said(
        state, running, rollout_id=wanted.rollout_id, attempt=wanted.attempt,
        bundle_digest=wanted.bundle_digest,
    )  # fmt: skip
    reported(hub, told.model_copy(update={"by_hand": by_hand}), hub.now + 1)


def serving_old(hub: Hub) -> None:
    """Version 1 serves, and there is a version 3."""
    with hub.database.transaction() as session:
        add_version(session, MODEL, 3, NEWEST, IDENTITY)
    hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    reports(hub, OLD, S.SUCCEEDED)
    hub.settle()


def given_up(hub: Hub, *, heard: bool = True) -> str:
    """Version 2 comes, and somebody at the device gives it up in shadow."""
    rollout_id = hub.create(**ONE, version=2, shadow={})
    hub.settle()
    walk(hub, "dev-0", S.PROVING)
    hub.report("dev-0", S.SHADOWING)
    hub.report("dev-0", S.CANCELED, "a person went back by hand")
    if heard:
        reports(hub, OLD, S.CANCELED)
    hub.settle()
    assert hub.executions(rollout_id)["dev-0", 1].by_hand
    assert slot(hub, "dev-0").bundle_digest == OLD, "what that person kept"
    return rollout_id


def test_who_gave_an_attempt_up_in_its_probation_is_counted(hub: Hub) -> None:
    serving_old(hub)
    rollout_id = hub.create(**ONE, version=2)
    hub.settle()
    walk(hub, "dev-0", S.PROBATION)
    hub.report("dev-0", S.ROLLING_BACK)
    hub.report("dev-0", S.ROLLED_BACK, "a person at the device gave it up", by_hand=True)
    hub.settle()
    assert hub.executions(rollout_id)["dev-0", 1].by_hand
    assert slot(hub, "dev-0").bundle_digest == OLD


def fails(hub: Hub, version: int = 3) -> str:
    """A version comes, serves in probation, and does not stay."""
    rollout_id = hub.create(**ONE, version=version)
    hub.settle()
    walk(hub, "dev-0", S.PROBATION)
    hub.report("dev-0", S.ROLLED_BACK, "it does worse")
    hub.settle()
    return rollout_id


def test_what_somebody_gave_up_is_not_brought_back_by_the_next_failure(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub)
    for _ in range(2):  # and not by the one after that
        fails(hub)
        wanted = slot(hub, "dev-0")
        assert (wanted.bundle_digest, wanted.version, wanted.manifest_bytes) == (OLD, 1, 500)
        assert (wanted.shadow, wanted.hold) == (None, False)
        reports(hub, OLD, S.SUCCEEDED)


def test_what_somebody_went_back_from_is_not_brought_back(hub: Hub) -> None:
    serving_old(hub)
    hub.create(**ONE, version=2)
    hub.settle()
    hub.succeed("dev-0")
    reports(hub, OLD, S.SUCCEEDED, by_hand=True)
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == NEW
    fails(hub)
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_a_rollout_is_taken_back_to_what_really_served(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub)
    rollout_id = taken_back(hub)
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id, wanted.attempt) == (OLD, rollout_id, 2)
    assert hub.executions(rollout_id)["dev-0", 2].digest == OLD


def test_a_further_attempt_remembers_what_the_first_one_found(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub)
    retries = {"count": 1, "after_s": 60}
    rollout_id = hub.create(**ONE, version=3, failed_max=None, retries=retries)
    hub.settle()
    hub.report("dev-0", S.FAILED, "no room")
    hub.settle(61)
    hub.report("dev-0", S.FAILED, "no room")
    hub.settle()
    assert list(hub.executions(rollout_id)) == [("dev-0", 1), ("dev-0", 2)]
    assert slot(hub, "dev-0").bundle_digest == OLD


@pytest.mark.parametrize(("end", "back"), [(S.ROLLED_BACK, OLD), (S.SUCCEEDED, NEW)])
def test_how_an_exchange_ends_after_another_took_the_slot_says_what_was_before(
    hub: Hub, end: S, back: str
) -> None:
    serving_old(hub)
    first = hub.create(**ONE, version=2)
    hub.settle()
    walk(hub, "dev-0", S.PROBATION)
    newer = hub.create(**ONE, version=3)
    hub.settle()
    assert slot(hub, "dev-0").rollout_id == newer
    ended = said(end, rollout_id=first, attempt=1).execution
    assert ended is not None
    hub.tell("dev-0", ended)
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == back


def test_a_rollout_that_a_device_joins_takes_no_attempt_under_way_for_what_was(hub: Hub) -> None:
    serving_old(hub)
    older = hub.create(version=3, continuous=True, selector="line=b", priority=5)
    hub.settle()
    hub.create(**ONE, version=2, shadow={})
    hub.settle()
    walk(hub, "dev-0", S.PROVING)
    with hub.database.transaction() as session:
        device = session.get_one(Device, "dev-0")
        device.labels = {"line": "b"}
        session.add(device)
        fleet.touch(session, ["dev-0"])
    hub.settle()
    assert slot(hub, "dev-0").rollout_id == older
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_that_an_attempt_was_given_up_says_what_is_there_without_another_report(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub, heard=False)
    fails(hub)
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_what_the_registry_does_not_know_is_left_running(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub)
    with hub.database.transaction() as session:
        session.delete(session.get_one(Build, OLD))
    rollout_id = fails(hub)
    assert MODEL not in hub.published.desired("dev-0")[-1].slots
    assert hub.executions(rollout_id)["dev-0", 1].state == "ROLLED_BACK"


def test_no_way_back_to_what_the_registry_does_not_know_is_said(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub)
    with hub.database.transaction() as session:
        session.delete(session.get_one(Build, OLD))
    rollout_id = taken_back(hub)
    kept = hub.executions(rollout_id)["dev-0", 2]
    assert (kept.state, kept.reverts, kept.reason) == (
        "CANCELED",
        True,
        "caps v1, which was before, has been deleted",
    )
    assert slot(hub, "dev-0").bundle_digest == NEWEST


def test_a_pin_is_let_go_to_what_really_served(hub: Hub) -> None:
    serving_old(hub)
    given_up(hub)
    with hub.database.transaction() as session:
        service.pin(session, ADMIN, "dev-0", MODEL, version=3)
    assert slot(hub, "dev-0").bundle_digest == NEWEST
    with hub.database.transaction() as session:
        assert service.unpin(session, ADMIN, "dev-0", MODEL)[0] == OLD
    assert slot(hub, "dev-0").bundle_digest == OLD
