"""What is unpinned is its rollout's again: watched, counted, and taken back with the others."""

from __future__ import annotations

from functools import partial

import pytest

from cloud.fleet.models import Device
from cloud.rollouts import service
from protocol.messages import ExecutionReport, SlotDesired
from protocol.states import ExecutionState as S
from tests.simulation.rollouts.devices import PATH
from tests.unit.cloud.rollouts.conftest import ADMIN, MODEL, Hub
from tests.unit.cloud.rollouts.test_acting import TWO
from tests.unit.cloud.rollouts.test_before import NEW, NEWEST, OLD, reports, serving_old
from tests.unit.cloud.rollouts.test_leaving import pin, unpin
from tests.unit.cloud.rollouts.test_policies import slot, walk

Told = tuple[str, str | None, int]


def told(hub: Hub) -> Told:
    wanted = slot(hub, "dev-0")
    return wanted.bundle_digest, wanted.rollout_id, wanted.attempt


def outcome(hub: Hub, rollout_id: str) -> dict[str, object]:
    with hub.database.reading() as session:
        (last,) = service.journal(session, ADMIN, rollout_id, limit=99)[-1:]
        return last.detail


def kinds(hub: Hub, rollout_id: str) -> list[str]:
    with hub.database.reading() as session:
        entries = service.journal(session, ADMIN, rollout_id, limit=99)
        return [entry.kind for entry in entries if entry.kind in {"pinned", "unpinned", "diverged"}]


@pytest.fixture
def under_way(hub: Hub) -> str:
    """Version 1 serves; version 2 comes, and goes on elsewhere. And there is a version 3."""
    serving_old(hub)
    rollout_id = hub.create(**TWO, version=2, failed_max=0)
    hub.settle()
    return rollout_id


@pytest.fixture
def unpinned(hub: Hub, under_way: str) -> str:
    """Version 2 was brought, the device was held at version 3, and is let go."""
    hub.succeed("dev-0")
    reports(hub, NEW, S.SUCCEEDED)
    hub.settle()
    pin(hub, 3)
    hub.settle()
    reports(hub, NEWEST, S.SUCCEEDED)
    hub.settle()
    assert unpin(hub) == NEW
    hub.settle()
    return under_way


def test_its_rollout_brings_it_again_and_hears_of_it(hub: Hub, unpinned: str) -> None:
    assert told(hub) == (NEW, unpinned, 2)
    wanted = slot(hub, "dev-0")
    assert (wanted.hold, wanted.shadow) == (False, None)
    hub.succeed("dev-0")
    reports(hub, NEW, S.SUCCEEDED)
    hub.settle(60)
    row = hub.executions(unpinned)["dev-0", 2]
    assert (row.state, row.diverged) == ("SUCCEEDED", False)
    assert told(hub) == (NEW, unpinned, 2)
    assert kinds(hub, unpinned) == ["pinned", "unpinned"]


@pytest.mark.parametrize("arrived", [True, False])
def test_it_is_taken_back_with_the_others(hub: Hub, unpinned: str, arrived: bool) -> None:
    for state in PATH if arrived else PATH[:1]:
        hub.report("dev-0", state)
    hub.settle()
    hub.call(partial(service.abort, revert=True, remark="it sees less"), unpinned)
    hub.settle()
    if arrived:
        assert told(hub) == (OLD, unpinned, 3)
        hub.succeed("dev-0")
        hub.settle()
        assert hub.rollout(unpinned).outcome == "REVERTED"
        counts = outcome(hub, unpinned)
        assert (counts["reverted"], counts["left"]) == (1, 0)
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_where_it_fails_this_time_its_rollout_counts_that(hub: Hub, unpinned: str) -> None:
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    assert hub.rollout(unpinned).state == "PAUSED"
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_a_rollout_that_is_watched_no_more_is_asked_for_nothing(hub: Hub, under_way: str) -> None:
    hub.succeed("dev-0")
    hub.settle()
    pin(hub, 3)
    hub.call(partial(service.abort, revert=False, remark="enough"), under_way)
    hub.settle()
    assert unpin(hub) == NEW
    assert told(hub)[:2] == (NEW, None)


# ---- a pin over an exchange -----------------------------------------------------------------


@pytest.fixture
def exchanged(hub: Hub, under_way: str) -> tuple[str, SlotDesired]:
    """The device is in its probation as a pin takes its slot; what it was told before."""
    walk(hub, "dev-0", S.PROBATION)
    wanted = slot(hub, "dev-0")
    pin(hub, 3)
    hub.settle()
    return under_way, wanted


def ends(hub: Hub, wanted: SlotDesired, state: S) -> None:
    key = {"rollout_id": wanted.rollout_id, "attempt": wanted.attempt, "slot": MODEL}
    hub.tell(
        "dev-0",
        ExecutionReport.model_validate(
            {**key, "bundle_digest": wanted.bundle_digest, "state": state}
        ),
    )
    hub.settle()


def test_what_succeeded_under_the_pin_comes_back(
    hub: Hub, exchanged: tuple[str, SlotDesired]
) -> None:
    rollout_id, wanted = exchanged
    ends(hub, wanted, S.SUCCEEDED)
    assert unpin(hub) == NEW
    assert told(hub) == (NEW, rollout_id, 2)


def test_what_was_rolled_back_under_the_pin_does_not(
    hub: Hub, exchanged: tuple[str, SlotDesired]
) -> None:
    _, wanted = exchanged
    ends(hub, wanted, S.ROLLED_BACK)
    assert slot(hub, "dev-0").bundle_digest == NEWEST
    assert unpin(hub) == OLD
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_what_is_still_in_its_probation_goes_on(
    hub: Hub, exchanged: tuple[str, SlotDesired]
) -> None:
    rollout_id, wanted = exchanged
    assert unpin(hub) == NEW
    assert slot(hub, "dev-0") == wanted
    ends(hub, wanted, S.SUCCEEDED)
    assert list(hub.executions(rollout_id)) == [("dev-0", 1), ("dev-1", 1)]


def test_the_same_build_pinned_and_let_go_is_its_rollouts(hub: Hub, under_way: str) -> None:
    walk(hub, "dev-0", S.PROBATION)
    wanted = slot(hub, "dev-0")
    pin(hub, 2)
    ends(hub, wanted, S.SUCCEEDED)
    assert unpin(hub) == NEW
    assert slot(hub, "dev-0") == wanted


def test_a_pin_is_noted_once_by_every_rollout_that_has_or_brings_the_device(
    hub: Hub, exchanged: tuple[str, SlotDesired]
) -> None:
    assert kinds(hub, exchanged[0]) == ["pinned"]
    unpin(hub)
    assert kinds(hub, exchanged[0]) == ["pinned", "unpinned"]


# ---- a continuous rollout -------------------------------------------------------------------


def continuous(hub: Hub, *, queued: bool) -> str:
    """It comes to the device in its second wave, and a pin is there first; or in its first."""
    waves = [{"selector": f"device=dev-{1 if queued else 0}"}, {"percent": 100}]
    rollout_id = hub.create(version=2, continuous=True, selector="line=a", waves=waves)
    hub.settle()
    return rollout_id


@pytest.mark.parametrize("queued", [True, False])
def test_a_device_that_a_pin_kept_out_gets_the_build_once_it_is_let_go(
    hub: Hub, queued: bool
) -> None:
    serving_old(hub)
    rollout_id = continuous(hub, queued=queued)
    if not queued:
        hub.report("dev-0", S.DOWNLOADING)
    pin(hub, 1)
    hub.settle()
    assert hub.executions(rollout_id)["dev-0", 1].state == "SUPERSEDED"
    assert unpin(hub) == OLD
    row = hub.executions(rollout_id)["dev-0", 2]
    assert (row.state, row.started_at, row.wave) == ("QUEUED", None, int(queued))
    hub.settle()
    if queued:
        hub.succeed("dev-1")
        hub.settle(3600)
    assert told(hub) == (NEW, rollout_id, 2)
    hub.succeed("dev-0")
    hub.settle()
    assert hub.executions(rollout_id)["dev-0", 2].state == "SUCCEEDED"


@pytest.mark.parametrize("why", ["moved", "cancelled"])
def test_a_device_that_is_not_meant_any_more_gets_nothing(hub: Hub, why: str) -> None:
    serving_old(hub)
    rollout_id = continuous(hub, queued=True)
    pin(hub, 1)
    if why == "cancelled":
        hub.call(service.cancel, rollout_id)
        hub.settle()
    else:
        with hub.database.transaction() as session:
            session.get_one(Device, "dev-0").labels = {"line": "b"}
    unpin(hub)
    assert ("dev-0", 2) not in hub.executions(rollout_id)
