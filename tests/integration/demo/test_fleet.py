"""Virtual devices on a real broker, with a hub that is a few lines of test."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from protocol import chunks
from protocol.messages import Ack, Acks, Presence, Wants, decode, encode
from protocol.states import ExecutionState
from protocol.topics import ROOT_DEFAULT, Kind, Topic, TopicSpace
from simulators.dials import Dials
from simulators.fleet import Broker, Fleet, make_devices
from tests.integration.brokers import mosquitto
from tests.unit.simulators.test_device import BLOBS, DIGEST, desired

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DEVICES = 30
DEADLINE_S = 60.0
SPACE = TopicSpace(ROOT_DEFAULT)


class SmallHub:
    """Answers wants, acknowledges what comes in order, remembers presence."""

    def __init__(self, port: int) -> None:
        self.stored: dict[tuple[str, str], set[int]] = {}
        self.repeated = 0
        self.presence: dict[str, list[str]] = {}
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        kinds = (Kind.EVENTS, Kind.TELEMETRY, Kind.WANTS, Kind.PRESENCE)
        self.client.subscribe([(SPACE.filter(kind), 1) for kind in kinds])
        self.client.loop_start()

    def want(self, device_id: str) -> None:
        """Have the device run the build, from now on."""
        text = SPACE.render(Topic(Kind.DESIRED, device_id=device_id))
        payload = encode(desired().model_copy(update={"device_id": device_id}))
        self.client.publish(text, payload, qos=1, retain=True)

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        topic = SPACE.parse(message.topic)
        found = decode(topic.kind, bytes(message.payload))
        if isinstance(found, Wants):
            self._answer(found)
        elif isinstance(found, Presence):
            self.presence.setdefault(found.device_id, []).append(found.status)
        else:
            self._store(topic, found.epoch, found.sequence)

    def _answer(self, wants: Wants) -> None:
        for want in wants.blobs:
            for index in chunks.from_ranges(want.ranges):
                at = index * chunks.CHUNK_BYTES
                data = BLOBS[want.sha256][at : at + chunks.CHUNK_BYTES]
                text = SPACE.render(Topic(Kind.BLOB_CHUNK, sha256=want.sha256, index=index))
                self.client.publish(text, data, qos=1)

    def _store(self, topic: Topic, epoch: str, sequence: int) -> None:
        kept = self.stored.setdefault((topic.device_id, topic.kind.value), set())
        self.repeated += sequence in kept
        kept.add(sequence)
        contiguous = next(n for n in range(1, len(kept) + 2) if n not in kept) - 1
        ack = Ack.model_validate(
            {"stream": topic.kind.value, "epoch": epoch, "sequence": contiguous}
        )
        text = SPACE.render(Topic(Kind.ACKS, device_id=topic.device_id))
        self.client.publish(text, encode(Acks(device_id=topic.device_id, acks=(ack,))), qos=1)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not there after {DEADLINE_S} s"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "dials", [Dials(), Dials(offline=0.3, offline_s=0.5)], ids=["steady", "coming-and-going"]
)
def test_a_fleet_takes_a_build_and_loses_no_message(tmp_path: Path, dials: Dials) -> None:
    names = [f"virtual-{n}" for n in range(DEVICES)]
    with mosquitto(tmp_path) as broker:
        hub = SmallHub(broker.port)
        devices = make_devices(names, ["factory"], dials, seed=4)
        place = Broker("127.0.0.1", broker.port, ROOT_DEFAULT)
        fleet, stopping = Fleet(devices, place, random.Random(4)), threading.Event()
        running = threading.Thread(target=fleet.run, args=(stopping,))
        running.start()
        try:
            for name in names:
                hub.want(name)
            wait_for(lambda: all(d.executed for d in devices), "the end of all updates")
            wait_for(lambda: all(not d.outbox.waiting for d in devices), "all acknowledgements")
        finally:
            stopping.set()
            running.join(30)
        assert {e for d in devices for e in d.executed} == {(DIGEST, ExecutionState.SUCCEEDED)}
        for device in devices:
            for stream, last in device.outbox.issued().items():
                stored = hub.stored.get((device.device_id, stream), set())
                assert stored >= set(range(1, last + 1)), (device.device_id, stream)
        wait_for(lambda: all(p[-1] == "offline" for p in hub.presence.values()), "goodbyes")
        hub.client.disconnect()
        hub.client.loop_stop()
