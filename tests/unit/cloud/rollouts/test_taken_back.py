"""A build that was taken back does not come back as what was before something newer."""

from __future__ import annotations

import pytest

from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.running.going_back import NOTHING_BEFORE, WayBack
from protocol.messages import SlotDesired
from protocol.states import ExecutionState as S
from tests.unit.cloud.rollouts.conftest import MODEL, Hub
from tests.unit.cloud.rollouts.test_acting import revert
from tests.unit.cloud.rollouts.test_before import NEW, NEWEST, OLD, serving_old
from tests.unit.cloud.rollouts.test_leaving import pin, rolled, unpin
from tests.unit.cloud.rollouts.test_policies import slot


@pytest.fixture
def taken(hub: Hub) -> str:
    """Version 1 serves, then version 2, whose rollout this is; and there is a version 3."""
    serving_old(hub)
    return brought(hub, 2)


def brought(hub: Hub, version: int, other: str = "dev-1") -> str:
    """A rollout that has brought the version here, and goes on elsewhere."""
    rollout_id = hub.create(devices=["dev-0", other], version=version)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    return rollout_id


def test_a_pin_is_let_go_to_what_was_before_what_was_taken_back(hub: Hub, taken: str) -> None:
    pin(hub, 3)
    revert(hub, taken)
    assert hub.rollout(taken).outcome == "REVERTED"
    assert unpin(hub) == OLD
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_a_newer_rollout_that_fails_leaves_what_was_before_both(hub: Hub, taken: str) -> None:
    rolled(hub, 3)
    hub.report("dev-0", S.PROBATION)
    revert(hub, taken)
    hub.report("dev-0", S.ROLLED_BACK, "it does worse")
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_what_is_taken_back_over_another_that_was_goes_back_past_both(hub: Hub, taken: str) -> None:
    newer = brought(hub, 3, "dev-2")
    revert(hub, taken)
    revert(hub, newer)
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id, wanted.attempt) == (OLD, newer, 2)
    assert hub.executions(newer)["dev-0", 2].digest == OLD


def test_what_was_brought_back_is_what_was_before(hub: Hub, taken: str) -> None:
    """The attempt that takes back has the rollout's name too, and the build from before it."""
    revert(hub, taken)
    hub.succeed("dev-0")
    rolled(hub, 3)
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id, wanted.attempt) == (OLD, taken, 2)


def test_rollouts_that_name_each_other_lead_to_nothing(hub: Hub) -> None:
    serving_old(hub)
    names = [rolled(hub, 2), rolled(hub, 3)]
    texts = [
        SlotDesired(
            bundle_digest=digest, manifest_bytes=500, model=MODEL, version=2, rollout_id=name
        ).model_dump_json()
        for name, digest in zip(names, (NEW, NEWEST), strict=True)
    ]
    with hub.database.transaction() as session:
        for name, before in zip(names, reversed(texts), strict=True):
            session.get_one(Rollout, name).reverting = True
            session.get_one(Execution, (name, "dev-0", 1)).before = before
        session.flush()
        assert WayBack(session).of(texts[0], "dev-0") == (None, NOTHING_BEFORE)
        assert WayBack(session).of(texts[0], "dev-1") == (None, NOTHING_BEFORE)
