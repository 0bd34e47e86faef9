"""A whole hub against a real broker, and a device's bare MQTT client."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import BaseModel

from cloud import settings
from cloud.access.principal import Role, service_principal
from cloud.fleet import service as fleet
from cloud.hub import Hub
from protocol.messages import TelemetryReport, decode, encode
from protocol.topics import Kind, Topic, TopicSpace
from protocol.windows import WindowStats
from tests.integration.brokers import RunningBroker

OPERATOR = service_principal("tester", Role.OPERATOR)
SPACE = TopicSpace()
DEADLINE_S = 20.0
EPOCH = "cd" * 16
DIGEST = "ab" * 32


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The condition's value once it is true. Raises TimeoutError."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not happen within {deadline_s} s")


@contextmanager
def running_hub(data_dir: Path, broker: RunningBroker, **mqtt_settings: Any) -> Iterator[Hub]:
    """A hub on `broker`, linked, with the device line-1 enrolled where it is not yet."""
    url = f"mqtt://{broker.host}:{broker.port}"
    given = {"url": url, "reconnect_delay_max_s": 0.5, **mqtt_settings}
    hub = Hub(settings.load(data_dir, mqtt=given))
    hub.start()
    try:
        assert hub.ingress.wait_connected(DEADLINE_S)
        with hub.database.transaction() as session:
            if not fleet.known_ids(session, {"line-1"}):
                fleet.enrol(session, OPERATOR, "line-1")
        yield hub
    finally:
        hub.stop()


@dataclass
class Wire:
    """A client that publishes as devices do and keeps what it hears."""

    client: mqtt.Client
    heard: queue.Queue[tuple[Topic, bytes]] = field(default_factory=queue.Queue)

    def publish(self, kind: Kind, message: BaseModel | bytes, device_id: str = "line-1") -> None:
        payload = message if isinstance(message, bytes) else encode(message)
        self.publish_raw(SPACE.render(Topic(kind, device_id=device_id)), payload)

    def publish_raw(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, qos=1).wait_for_publish(DEADLINE_S)

    def next(self, kind: Kind, deadline_s: float = DEADLINE_S) -> Any:
        """The next message of `kind`, decoded; others are dropped."""
        deadline = time.monotonic() + deadline_s
        while True:
            topic, payload = self.heard.get(timeout=max(0.01, deadline - time.monotonic()))
            if topic.kind is kind:
                return decode(kind, payload)


@contextmanager
def wire(
    broker: RunningBroker,
    *kinds: Kind,
    username: str | None = None,
    password: str | None = None,
    client_id: str = "",
) -> Iterator[Wire]:
    """A connected client that is subscribed to `kinds`."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
    if username is not None:
        client.username_pw_set(username, password)
    made = Wire(client)
    subscribed: queue.Queue[bool] = queue.Queue()
    client.on_message = lambda _, __, m: made.heard.put((SPACE.parse(m.topic), bytes(m.payload)))

    def on_connect(*_: Any) -> None:
        for kind in kinds:
            client.subscribe(SPACE.filter(kind), 1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.connect(broker.host, broker.port)
    client.loop_start()
    for _ in kinds:
        subscribed.get(timeout=DEADLINE_S)
    wait_until(client.is_connected, "the client's connection")
    try:
        yield made
    finally:
        client.disconnect()
        client.loop_stop()


def window(sequence: int, device_id: str = "line-1", epoch: str = EPOCH) -> TelemetryReport:
    return TelemetryReport(
        device_id=device_id,
        epoch=epoch,
        sequence=sequence,
        camera="cam",
        slot="factory",
        bundle_digest=DIGEST,
        window_start=10.0 * sequence,
        window_end=10.0 * sequence + 10,
        stats=WindowStats(frames_inferred=5),
    )
