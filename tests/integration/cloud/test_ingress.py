"""The hub on a real broker: once in the database, acknowledged after, told anew."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from cloud.distribution.service import TrustService
from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.telemetry import service as telemetry
from protocol import messages
from protocol.chunks import CHUNK_BYTES, sha256_hex, to_ranges
from protocol.messages import BlobWant, Presence, SlotDesired, Wants
from protocol.topics import Kind, Topic
from tests.integration.brokers import RunningBroker
from tests.integration.cloud.places import (
    DIGEST,
    OPERATOR,
    SPACE,
    Wire,
    running_hub,
    wait_until,
    window,
    wire,
)

pytestmark = pytest.mark.integration

SLOT = SlotDesired(bundle_digest=DIGEST, manifest_bytes=900, model="factory", version=1)


def stored(hub: Hub) -> list[int]:
    with hub.database.reading() as session:
        return [w.sequence for w in telemetry.list_windows(session, OPERATOR, limit=1000)]


def acknowledged(device: Wire, sequence: int) -> None:
    while device.next(Kind.ACKS).acks[0].sequence < sequence:
        pass


def count(hub: Hub, name: str) -> int:
    return hub.counters.snapshot().get(name, 0)


def test_each_window_is_stored_once_however_often_it_comes(hub: Hub, broker: RunningBroker) -> None:
    with wire(broker, Kind.ACKS) as device:
        for _ in range(3):
            for sequence in (1, 2, 3, 5, 4):
                device.publish(Kind.TELEMETRY, window(sequence))
        acknowledged(device, 5)
        wait_until(lambda: count(hub, "duplicates") == 10, "the count of duplicates")
    assert sorted(stored(hub)) == [1, 2, 3, 4, 5]


def test_a_restarted_hub_knows_what_it_stored(broker: RunningBroker, tmp_path: Path) -> None:
    with wire(broker, Kind.ACKS) as device:
        for _ in range(2):
            with running_hub(tmp_path / "hub", broker) as hub:
                for sequence in (1, 2):
                    device.publish(Kind.TELEMETRY, window(sequence))
                acknowledged(device, 2)
                assert stored(hub) == [1, 2]


def test_nothing_is_acknowledged_while_the_database_refuses(
    hub: Hub, broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = threading.Event()
    refusing.set()
    store = hub.writer._store

    def store_or_refuse(batch: object) -> object:
        if refusing.is_set():
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk is full"))
        return store(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(hub.writer, "_store", store_or_refuse)
    with wire(broker, Kind.ACKS) as device:
        device.publish(Kind.TELEMETRY, window(1))
        wait_until(lambda: count(hub, "write_failures") >= 3, "three tries")
        assert (device.heard.empty(), stored(hub)) == (True, [])
        refusing.clear()
        acknowledged(device, 1)
    assert stored(hub) == [1]


def test_bad_messages_are_counted_and_stop_nothing(hub: Hub, broker: RunningBroker) -> None:
    topic = SPACE.render(Topic(Kind.TELEMETRY, device_id="line-1"))
    with wire(broker, Kind.ACKS) as device:
        device.publish_raw(topic, b"{not json")
        device.publish_raw(topic, b"\xff" * 1000)
        device.publish_raw(topic, b'{"schema_version": 2, "device_id": "line-1"}')
        device.publish(Kind.TELEMETRY, window(1, device_id="line-9"))
        device.publish(Kind.TELEMETRY, window(1, device_id="line-9"), device_id="line-9")
        device.publish(
            Kind.WANTS,
            Wants(device_id="line-1", blobs=(BlobWant(sha256=DIGEST, ranges=((0, 1),)),)),
        )
        device.publish(Kind.TELEMETRY, window(1))
        acknowledged(device, 1)
        wait_until(lambda: count(hub, "messages") == 7, "all messages")
    refused = {
        name: number for name, number in hub.counters.snapshot().items() if "refused" in name
    }
    assert refused == {
        "refused.malformed": 2,
        "refused.schema_version": 1,
        "refused.foreign_device": 1,
        "refused.unknown_device": 1,
        "refused.unknown_blob": 1,
    }


def test_a_broker_that_forgot_is_told_states_and_trust(hub: Hub, broker: RunningBroker) -> None:
    with hub.database.transaction() as session:
        fleet.set_slot(session, OPERATOR, "line-1", "factory", SLOT)
    first = hub.ingress.linked_since
    broker.stop()
    wait_until(lambda: not hub.ingress.connected, "the loss of the link")
    assert hub.ingress.linked_since is None
    broker.start()
    assert hub.ingress.wait_connected(30)
    assert (hub.ingress.linked_since or 0.0) > (first or 0.0) > 0.0
    with wire(broker, Kind.DESIRED, Kind.TRUST) as device:
        found: dict[str, bytes] = {}
        while len(found) < 6:
            topic, payload = device.heard.get(timeout=20)
            found[topic.filename or topic.kind.value] = payload
    desired = messages.decode(Kind.DESIRED, found.pop("desired"))
    assert desired.slots == {"factory": SLOT}
    index = messages.decode_trust_index(found.pop("index"))
    assert {f.filename: f.sha256 for f in index.files} == {
        name: sha256_hex(data) for name, data in found.items()
    }
    assert isinstance(hub.trust, TrustService)


def test_a_change_reaches_the_device_at_once(hub: Hub, broker: RunningBroker) -> None:
    with wire(broker, Kind.DESIRED, Kind.COMMANDS) as device:
        with hub.database.transaction() as session:
            fleet.set_slot(session, OPERATOR, "line-1", "factory", SLOT)
            fleet.send_command(session, OPERATOR, "line-1", "report", {}, expires_s=60)
        assert device.next(Kind.DESIRED).generation == 1
        assert device.next(Kind.COMMANDS).name == "report"


def test_wanted_chunks_come_once_for_all(hub: Hub, broker: RunningBroker) -> None:
    data = bytes(range(256)) * 2000
    with hub.database.transaction() as session:
        from cloud.blobs import service as blobs

        sha256 = blobs.add_bytes(session, hub.blobs, data).sha256
    count_of_chunks = -(-len(data) // CHUNK_BYTES)
    with wire(broker, Kind.BLOB_CHUNK) as device:
        for _ in range(5):
            ranges = to_ranges(range(count_of_chunks))
            want = Wants(device_id="line-1", blobs=(BlobWant(sha256=sha256, ranges=ranges),))
            device.publish(Kind.WANTS, want)
        chunks: dict[int, bytes] = {}
        while len(chunks) < count_of_chunks:
            topic, payload = device.heard.get(timeout=20)
            chunks[topic.index] = payload
        wait_until(lambda: count(hub, "wants") == 5, "all wants")
    assert b"".join(chunks[i] for i in sorted(chunks)) == data
    assert count(hub, "published.blob_chunk") == count_of_chunks


def test_a_will_marks_the_device_offline_unless_it_came_back(
    hub: Hub, broker: RunningBroker
) -> None:
    def presence() -> str:
        with hub.database.reading() as session:
            return fleet.get_device(session, OPERATOR, "line-1").presence

    def word(status: str, epoch: int) -> Presence:
        return Presence.model_validate(
            {"device_id": "line-1", "status": status, "boot_id": "b", "session_epoch": epoch}
        )

    with wire(broker) as device:
        device.publish(Kind.PRESENCE, word("online", 1))
        wait_until(lambda: presence() == "online", "online")
        device.publish(Kind.PRESENCE, word("offline", 1))
        wait_until(lambda: presence() == "offline", "offline")
        device.publish(Kind.PRESENCE, word("online", 3))
        device.publish(Kind.PRESENCE, word("offline", 2))
        wait_until(lambda: count(hub, "refused.older_session") == 1, "the refusal")
    assert presence() == "online"
