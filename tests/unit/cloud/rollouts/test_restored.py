"""A hub that was restored from a backup: devices say nothing again that was acknowledged, but their
reports go on telling what became of an attempt."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.rollouts import service
from cloud.rollouts.states import Outcome
from protocol.messages import ExecutionReport, SlotReported
from tests.unit.cloud.rollouts.conftest import DIGESTS, MODEL, Hub
from tests.unit.cloud.rollouts.test_acting import texts
from tests.unit.cloud.rollouts.test_policies import reported
from tests.unit.cloud.rollouts.views import S

SILENT_S = 901.0


def restored(hub: Hub) -> str:
    """A rollout of version 2 over version 1, of which the backup knows the beginning."""
    hub.create(devices=["dev-0"])
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    rollout_id = hub.create(devices=["dev-0"], version=2)
    hub.settle()
    hub.report("dev-0", S.DOWNLOADING)
    hub.settle()
    return rollout_id


def says(hub: Hub, state: S, running: int, **changed: Any) -> None:
    """The device's report of the attempt that it was last told of."""
    wanted = hub.published.desired("dev-0")[-1].slots[MODEL]
    told = ExecutionReport(
        rollout_id=wanted.rollout_id,
        attempt=wanted.attempt,
        slot=MODEL,
        bundle_digest=wanted.bundle_digest,
        state=state,
        reason="as it was",
    ).model_copy(update=changed)
    slot = SlotReported(running_digest=DIGESTS[running], execution=told)
    reported(hub, slot, hub.now)


def state(hub: Hub, rollout_id: str) -> str:
    return hub.executions(rollout_id)["dev-0", 1].state


def desired(hub: Hub) -> str:
    return hub.published.desired("dev-0")[-1].slots[MODEL].bundle_digest


def test_what_went_well_since_the_backup_is_not_taken_back(hub: Hub) -> None:
    rollout_id = restored(hub)
    says(hub, S.SUCCEEDED, 2)
    said_at = hub.now

    hub.settle(SILENT_S)

    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.reason, row.ended_at) == ("SUCCEEDED", "as it was", hub.now)
    assert row.exchanged_at == row.device_ended_at == said_at
    assert desired(hub) == DIGESTS[2]
    assert hub.rollout(rollout_id).outcome == Outcome.SUCCEEDED


def test_what_came_to_nothing_since_the_backup_is_told_as_it_was(hub: Hub) -> None:
    rollout_id = restored(hub)
    says(hub, S.ROLLED_BACK, 1)

    hub.settle(SILENT_S)

    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.reason) == ("ROLLED_BACK", "as it was")
    assert desired(hub) == DIGESTS[1]


def test_a_step_that_only_a_report_tells_is_a_step(hub: Hub) -> None:
    rollout_id = restored(hub)
    says(hub, S.PROBATION, 2)

    hub.settle(SILENT_S)
    assert (state(hub, rollout_id), desired(hub)) == ("PROBATION", DIGESTS[2])

    hub.settle(SILENT_S)
    assert (state(hub, rollout_id), desired(hub)) == ("TIMED_OUT", DIGESTS[1])


@pytest.mark.parametrize(
    "changed",
    [
        {"state": S.DOWNLOADING},
        {"attempt": 7},
        {"rollout_id": "another"},
        {"bundle_digest": DIGESTS[1]},
    ],
)
def test_a_report_of_something_else_saves_no_attempt(hub: Hub, changed: dict[str, Any]) -> None:
    rollout_id = restored(hub)
    says(hub, **{"state": S.SUCCEEDED, "running": 2, **changed})

    hub.settle(SILENT_S)

    assert (state(hub, rollout_id), desired(hub)) == ("TIMED_OUT", DIGESTS[1])


def test_who_cancels_then_leaves_the_build_to_devices_that_have_it(hub: Hub) -> None:
    rollout_id = restored(hub)
    says(hub, S.SUCCEEDED, 2)

    hub.call(service.cancel, rollout_id)
    hub.settle()

    assert (state(hub, rollout_id), desired(hub)) == ("SUCCEEDED", DIGESTS[2])


def test_what_has_succeeded_is_not_told_as_superseded(hub: Hub) -> None:
    rollout_id = restored(hub)
    says(hub, S.SUCCEEDED, 2)

    newer = hub.create(devices=["dev-0"])
    hub.settle()

    assert state(hub, rollout_id) == "SUCCEEDED"
    assert texts(hub, rollout_id, "superseded") == []
    before = hub.executions(newer)["dev-0", 1].before
    assert before is not None and DIGESTS[2] in before
