"""What people do at a device whose agent does not run holds when it runs again."""

from __future__ import annotations

import json
import time

import pytest

from edge_agent.update.requests import Request, leave
from tests.integration.edge_agent.device import SLOT
from tests.integration.edge_agent.fake_hub import wait_for
from tests.integration.edge_agent.fleet import Fleet

pytestmark = pytest.mark.integration


def test_back_by_hand_while_no_agent_runs(fleet: Fleet) -> None:
    first, second = fleet.install(1), fleet.install(2)
    fleet.desire(3, hold=True)
    fleet.reaches("PREPARED", 3)
    fleet.device.kill()
    seen = len(fleet.device.detections())
    went = fleet.command("rollback", "--slot", SLOT, "--json")
    assert went.returncode == 0, went.stderr
    assert json.loads(went.stdout)["agent_running"] is False
    assert "was given up" in json.loads(went.stdout)["slots"][SLOT]["text"]
    assert fleet.command("rollback", "--slot", SLOT).returncode == 0
    fleet.device.start()
    fleet.serves(first)
    fleet.reaches("CANCELED", 3)
    wait_for(lambda: "rolled_back_by_hand" in fleet.alerts(), "the alert")
    fleet.desire(3)
    fleet.stays("CANCELED", 3)
    digests = {line["bundle_digest"] for line in fleet.device.detections()[seen + 1 :]}
    assert digests == {first}, second
    status = json.loads(fleet.command("status", "--history", "--json").stdout)
    assert status["slots"][SLOT]["by_hand"] is True
    assert [a["passages"][-1]["state"] for a in status["history"][SLOT]][:2] == [
        "CANCELED",
        "SUCCEEDED",
    ]
    third = fleet.install(3, attempt=4)
    fleet.serves(third)


def started(fleet: Fleet) -> str:
    """The digest of the first answer after a start."""
    seen = len(fleet.device.detections())
    fleet.device.start()
    wait_for(lambda: len(fleet.device.detections()) > seen, "an answer")
    return str(fleet.device.detections()[seen]["bundle_digest"])


def test_a_rollback_that_was_killed_before_anybody_heard_is_told_once(fleet: Fleet) -> None:
    first, second = fleet.install(1), fleet.install(2)
    assert fleet.device.stop() == 0
    fleet.device.start("turn.persisted=kill")
    fleet.serves(second)
    asked = Request(id="7" * 32, kind="rollback", slot=SLOT, asked_at=time.time())
    leave(fleet.device.data, asked)
    wait_for(lambda: fleet.device.ended is not None, "the kill")
    assert "rolled_back_by_hand" not in fleet.alerts()
    for _ in range(2):
        assert started(fleet) == first
        wait_for(lambda: "rolled_back_by_hand" in fleet.alerts(), "the alert")
        assert fleet.device.stop() == 0
    assert fleet.alerts().count("rolled_back_by_hand") == 1
    status = json.loads(fleet.command("status", "--history", "--json").stdout)
    assert [a["left"] for a in status["history"][SLOT]] == [True, False]
    assert status["slots"][SLOT]["by_hand"] is True


def test_a_hold_said_before_the_agent_starts(fleet: Fleet) -> None:
    first = fleet.install(1)
    assert fleet.device.stop() == 0
    assert fleet.command("hold", "--for", "30m").returncode == 0
    fleet.device.start()
    fleet.desire(2)
    fleet.reaches("PREPARED", 2)
    fleet.stays("PREPARED", 2)
    fleet.serves(first)
    assert fleet.command("hold", "--release").returncode == 0
    fleet.reaches("SUCCEEDED", 2)
