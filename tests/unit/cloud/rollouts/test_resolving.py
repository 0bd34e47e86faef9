"""What a rollout says beforehand, what it refuses, and what it leaves in the history."""

from __future__ import annotations

import json

import pytest

from cloud.cli.client import HubClient
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL
from cloud.errors import ConflictError
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.rollouts import service
from protocol.messages import Reported, encode
from tests.simulation.rollouts.builds import UNABLE
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub
from tests.unit.cloud.rollouts.terminal import argosy
from tests.unit.cloud.rollouts.test_command_line import api

__all__ = ["api"]


def cripple(hub: Hub, device_id: str) -> None:
    """Let the device say that it can run nothing."""
    with hub.database.transaction() as session:
        device = session.get_one(Device, device_id)
        device.reported = encode(
            Reported(
                device_id=device_id,
                boot_id="boot",
                session_epoch=1,
                agent_version="0.1.0",
                desired_generation=1,
                capabilities=UNABLE,
                reported_at=hub.now,
            )
        ).decode()
        session.add(device)


def history(hub: Hub) -> list[tuple[str, int]]:
    with hub.database.reading() as session:
        return [(d.event, d.devices) for d in registry.deployments(session, ADMIN, MODEL)]


def test_no_artifact_is_known_before_a_rollout_starts(hub: Hub, api: HubClient) -> None:
    cripple(hub, "dev-1")
    hub.runs("dev-0", DIGESTS[2])

    plan = api.post("rollouts/preview", {"model": "caps", "version": 1})

    assert list(api.items("rollouts")) == []
    assert (plan["version"], plan["no_artifact"], plan["unheard"]) == (1, 1, 4)
    devices = {device["device"]: device for device in plan["devices"]}
    assert devices["dev-0"]["digest"] == DIGESTS[1]
    assert devices["dev-0"]["heard"]
    assert devices["dev-1"]["digest"] is None
    assert "the device has none" in devices["dev-1"]["reason"]
    created = api.post("rollouts", {"model": "caps", "version": 1})
    assert {d["device"] for d in created["plan"]["devices"] if d["digest"] is None} == {"dev-1"}


@pytest.mark.usefixtures("api")
def test_the_plan_from_the_command_line_says_no_by_its_status(hub: Hub) -> None:
    fine = argosy("plan", "caps", "1", "--json")
    assert (fine.exit_code, json.loads(fine.output)["no_artifact"]) == (0, 0)
    cripple(hub, "dev-1")
    answer = argosy("plan", "caps", "1", "--device", "dev-1")
    assert answer.exit_code == EXIT_NOT_ON_ALL
    assert "NO_ARTIFACT" in answer.output


def test_revoked_and_archived_versions_are_not_rolled_out(hub: Hub) -> None:
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    with pytest.raises(ConflictError, match="v1 is revoked: the floor is v2"):
        hub.create()
    with pytest.raises(ConflictError, match="revoked"):
        hub.create(version=None, bundle_digest=DIGESTS[1])
    with hub.database.transaction() as session:
        registry.archive_version(session, ADMIN, MODEL, 2)
    with pytest.raises(ConflictError, match="archived"):
        hub.create(version=2)


def test_a_version_that_is_revoked_while_it_rolls_out_goes_to_nobody_else(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 1}])
    hub.settle()
    (first,) = [key[0] for key, row in hub.executions(rollout_id).items() if row.started_at]
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    hub.succeed(first)
    hub.settle()

    states = {key[0]: row for key, row in hub.executions(rollout_id).items()}
    assert states[first].state == "SUCCEEDED"
    others = [row for name, row in states.items() if name != first]
    assert {row.state for row in others} == {"NO_ARTIFACT"}
    assert "revoked" in others[0].reason


def test_a_build_that_was_rejected_after_the_start_goes_to_nobody_else(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 1}])
    with hub.database.transaction() as session:
        session.get_one(Build, DIGESTS[1]).state = "REJECTED"
    hub.settle()

    assert {row.state for row in hub.executions(rollout_id).values()} == {"NO_ARTIFACT"}
    assert hub.published.messages == []


def test_a_rollout_leaves_its_events_in_the_history(hub: Hub) -> None:
    rollout_id = hub.create(needs_approval=True)
    assert history(hub) == [("waiting", 6)]
    for verb in (service.approve, service.pause, service.resume, service.cancel):
        hub.call(verb, rollout_id)
    with hub.database.reading() as session:
        assert registry.open_rollouts(session, MODEL) == {rollout_id: 1}
    hub.settle()
    assert [event for event, _ in history(hub)] == [
        *("waiting", "started", "paused", "resumed", "stopped")
    ]
    with hub.database.reading() as session:
        assert registry.open_rollouts(session, MODEL) == {}
    one = hub.create(devices=["dev-0"])
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    assert hub.rollout(one).outcome == "SUCCEEDED"
    assert history(hub)[-2:] == [("started", 1), ("finished", 1)]
