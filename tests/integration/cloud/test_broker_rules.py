"""The generated access rules on a real Mosquitto; shared subscriptions; the hub's user."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.telemetry import service as telemetry
from protocol.messages import SlotDesired
from protocol.topics import Kind, Topic, mosquitto_acl
from tests.conftest import lacking
from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.cloud.places import (
    DIGEST,
    OPERATOR,
    SPACE,
    running_hub,
    wait_until,
    window,
    wire,
)

pytestmark = pytest.mark.integration

USERS = ("hub", "line-1", "line-2")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningBroker]:
    """A Mosquitto with the generated rules; everybody's password is their name."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        lacking("mosquitto_passwd is not installed (apt-get install mosquitto)")
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    for user in USERS:
        subprocess.run([program, "-b", str(passwords), user, user], check=True)
    with mosquitto(tmp_path, acl=mosquitto_acl(SPACE), password_file=passwords) as broker:
        yield broker


@pytest.fixture
def hub(guarded: RunningBroker, tmp_path: Path) -> Iterator[Hub]:
    with running_hub(tmp_path / "hub", guarded, username="hub", password="hub") as running:
        with running.database.transaction() as session:
            fleet.enrol(session, OPERATOR, "line-2")
        yield running


def test_a_device_cannot_speak_for_another(hub: Hub, guarded: RunningBroker) -> None:
    with wire(guarded, username="line-1", password="line-1") as first:
        first.publish(Kind.TELEMETRY, window(1, device_id="line-2"), device_id="line-2")
        first.publish(Kind.TELEMETRY, window(1))
        wait_until(lambda: hub.counters.snapshot().get("stored"), "the own window")
    with hub.database.reading() as session:
        rows = telemetry.list_windows(session, OPERATOR)
    assert [row.device_id for row in rows] == ["line-1"]
    assert hub.counters.snapshot()["messages"] == 1


def test_a_device_cannot_give_itself_a_desired_state(hub: Hub, guarded: RunningBroker) -> None:
    slot = SlotDesired(bundle_digest=DIGEST, manifest_bytes=9, model="m", version=1)
    own = {"username": "line-1", "password": "line-1"}
    with wire(guarded, Kind.DESIRED, **own) as device:
        device.publish_raw(SPACE.render(Topic(Kind.DESIRED, device_id="line-1")), b"forged")
        with hub.database.transaction() as session:
            fleet.set_slot(session, OPERATOR, "line-2", "m", slot)
            fleet.set_slot(session, OPERATOR, "line-1", "m", slot)
        assert device.next(Kind.DESIRED).device_id == "line-1"
        # The hub may say it twice, when it connects and when it changes; never another's.
        while not device.heard.empty():
            assert device.next(Kind.DESIRED).device_id == "line-1"


def test_two_ingresses_share_the_streams(tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as broker,
        running_hub(tmp_path / "a", broker, shared_group="hubs") as first,
        running_hub(tmp_path / "b", broker, shared_group="hubs") as second,
        wire(broker) as device,
    ):
        for sequence in range(1, 21):
            device.publish(Kind.TELEMETRY, window(sequence))

        def stored(hub: Hub) -> int:
            return hub.counters.snapshot().get("stored", 0)

        wait_until(lambda: stored(first) + stored(second) == 20, "all windows")
        assert stored(first) > 0
        assert stored(second) > 0
