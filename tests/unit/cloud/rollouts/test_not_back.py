"""A device that was to go back, and does not: what it keeps is desired."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.registry.models import Build
from protocol.messages import ExecutionReport
from protocol.states import ExecutionState as S
from tests.unit.cloud.rollouts.conftest import MODEL, Hub
from tests.unit.cloud.rollouts.test_acting import revert
from tests.unit.cloud.rollouts.test_before import NEW, NEWEST, OLD, serving_old
from tests.unit.cloud.rollouts.test_leaving import rolled
from tests.unit.cloud.rollouts.test_policies import slot

ENDS: list[tuple[S, dict[str, Any]]] = [
    (S.CANCELED, {}),
    (S.ROLLED_BACK, {"by_hand": True}),
    (S.ROLLED_BACK, {}),
    (S.REJECTED, {}),
    (S.NO_ARTIFACT, {}),
]


@pytest.fixture
def going_back(hub: Hub) -> str:
    """Version 1 serves, then version 2, which is being taken back; and there is a version 3."""
    serving_old(hub)
    rollout_id = hub.create(devices=["dev-0", "dev-1"], version=2)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    revert(hub, rollout_id)
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.attempt) == (OLD, 2)
    return rollout_id


@pytest.mark.parametrize(("state", "more"), ENDS)
def test_what_stays_is_desired_by_the_attempt_that_the_device_knows(
    hub: Hub, going_back: str, state: S, more: dict[str, Any]
) -> None:
    hub.report("dev-0", state, "it stays as it is", **more)
    hub.settle()
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id, wanted.attempt) == (NEW, going_back, 1)
    rollout = hub.rollout(going_back)
    assert (rollout.state, rollout.outcome) == ("STOPPED", None)

    rolled(hub, 3)
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    again = slot(hub, "dev-0")
    assert (again.bundle_digest, again.rollout_id, again.attempt) == (NEW, going_back, 1)


def test_what_stays_and_may_not_serve_is_not_desired(hub: Hub, going_back: str) -> None:
    with hub.database.transaction() as session:
        session.get_one(Build, NEW).state = "REJECTED"
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    assert MODEL not in hub.published.desired("dev-0")[-1].slots


def test_a_return_that_another_followed_is_not_what_was_before_that(
    hub: Hub, going_back: str
) -> None:
    hub.report("dev-0", S.PROBATION)
    returned = slot(hub, "dev-0")
    rolled(hub, 3)
    assert slot(hub, "dev-0").bundle_digest == NEWEST
    over = ExecutionReport(
        rollout_id=going_back, attempt=2, slot=MODEL, bundle_digest=returned.bundle_digest,
        state=S.ROLLED_BACK,
    )  # fmt: skip
    hub.tell("dev-0", over)
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == NEW
