"""A subscriber of the tests' own at the line's broker: every message, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.integration.brokers import RunningBroker


@dataclass(frozen=True)
class Heard:
    topic: str
    payload: bytes
    retained: bool


class Listener:
    """Hears `topic_filter`; `heard` grows in the order of arrival."""

    def __init__(self, broker: RunningBroker, topic_filter: str) -> None:
        self.heard: list[Heard] = []
        self._subscribed = threading.Event()
        self._filter = topic_filter
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, 1).wait_for_publish(20)

    def latest(self, topic: str) -> bytes | None:
        found = [h.payload for h in tuple(self.heard) if h.topic == topic]
        return found[-1] if found else None

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe(self._filter, 1)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain))


@contextmanager
def listening(broker: RunningBroker, topic_filter: str) -> Iterator[Listener]:
    listener = Listener(broker, topic_filter)
    try:
        yield listener
    finally:
        listener.close()
