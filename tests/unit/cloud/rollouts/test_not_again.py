"""What may not serve again is neither desired nor brought back, and that is said."""

from __future__ import annotations

import pytest

from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.rollouts import service
from cloud.rollouts.planning.views import Abort, StartExecution
from cloud.rollouts.running.going_back import NOTHING_BEFORE
from tests.fixtures.registered import add_version
from tests.simulation.rollouts.builds import IDENTITY
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub
from tests.unit.cloud.rollouts.test_acting import TWO, S, act, revert, served, under_way
from tests.unit.cloud.rollouts.test_policies import ONE, slot


def test_nothing_is_brought_back_that_may_not_serve(hub: Hub) -> None:
    rollout_id = under_way(hub)
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    revert(hub, rollout_id)
    rows = hub.executions(rollout_id)
    assert list(rows) == [("dev-0", 1), ("dev-0", 2), ("dev-1", 1)]
    kept = rows["dev-0", 2]
    assert (kept.state, kept.reverts, kept.started_at) == ("CANCELED", True, None)
    assert kept.reason == "caps v1, which was before, is below the model's floor"
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.outcome) == ("STOPPED", None)
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[2]
    assert hub.published.desired("dev-1")[-1].slots == {}, "it was withdrawn under the floor"
    with hub.database.reading() as session:
        counts = service.wave_counts(session, rollout)
        assert dict(counts[0]) == {"NOT_REVERTED": 1, "CANCELED": 1}


def test_a_floor_that_is_raised_after_the_plan_holds_too(hub: Hub) -> None:
    rollout_id = under_way(hub)
    act(hub, rollout_id, Abort("it sees less", revert=True))
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    late = StartExecution("dev-0", 2, DIGESTS[1], reverts=True)
    assert act(hub, rollout_id, late)
    assert not act(hub, rollout_id, late), "a second time nothing changes"
    kept = hub.executions(rollout_id)["dev-0", 2]
    assert (kept.state, kept.started_at, kept.digest) == ("CANCELED", None, None)
    assert "below the model's floor" in kept.reason
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[2]


def test_a_withdrawal_never_desires_what_is_revoked(hub: Hub) -> None:
    rollout_id = under_way(hub)
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    hub.report("dev-1", S.FAILED, "no room")
    hub.settle()
    assert hub.executions(rollout_id)["dev-1", 1].state == "FAILED"
    last = hub.published.desired("dev-1")[-1]
    assert last.floors == {MODEL: 2}, "the device hears what may not serve any more"
    assert MODEL not in last.slots, "what runs stays"


@pytest.mark.parametrize(("version", "floor"), [(1, 2), (2, 3)])
def test_a_raised_floor_withdraws_what_it_revokes(hub: Hub, version: int, floor: int) -> None:
    """Down from version 2, which stays; and up to it from version 1, which is revoked too."""
    with hub.database.transaction() as session:
        add_version(session, MODEL, 3, "3" * 64, IDENTITY)
    served(hub, version=3 - version)
    rollout_id = hub.create(version=version, **ONE)
    hub.settle()
    sent = len(hub.published.desired("dev-0"))
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, floor)
    hub.settle()
    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.reason) == ("CANCELED", "its build was revoked or rejected meanwhile")
    told = hub.published.desired("dev-0")[sent:]
    said = {**told[0].floors, **{name: one.floor for name, one in told[0].slots.items()}}
    assert said == {MODEL: floor}, "the device hears it either way"
    if version == 1:
        assert (len(told), slot(hub, "dev-0").bundle_digest) == (1, DIGESTS[2])
    else:
        assert (len(told), told[-1].slots) == (1, {})


def test_a_build_that_was_rejected_since_is_not_brought_back(hub: Hub) -> None:
    rollout_id = under_way(hub)
    with hub.database.transaction() as session:
        build = session.get_one(Build, DIGESTS[1])
        build.state = "REJECTED"
        session.add(build)
    revert(hub, rollout_id)
    kept = hub.executions(rollout_id)["dev-0", 2]
    assert (kept.state, kept.digest) == ("CANCELED", None)
    assert kept.reason == "caps v1, which was before, has been rejected"


def test_where_nothing_was_before_the_device_keeps_the_build(hub: Hub) -> None:
    rollout_id = hub.create(**TWO)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    revert(hub, rollout_id)
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.outcome) == ("STOPPED", None)
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[1]
    kept = hub.executions(rollout_id)["dev-0", 2]
    assert (kept.state, kept.reason) == ("CANCELED", NOTHING_BEFORE)
