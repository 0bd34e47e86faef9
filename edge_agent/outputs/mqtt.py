"""The broker beside the line: its client, and signals as JSON on its topics.

It is another broker than that of the fleet, with another client and other rules: what is
lost here is counted by the channel, and nothing is kept on disk.
"""

from __future__ import annotations

import json
import queue
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.clock import Clock
from edge_agent.errors import OutputError
from edge_agent.outputs.settings import BrokerSection, MqttSection
from edge_agent.outputs.signals import Signal, SignalKind
from edge_agent.outputs.writer import LineDownError, Writer, attempt_all, body_json

PACKET_BYTES_MAX = 64 * 1024
CHECK_EVERY_S = 1.0

OnMessage = Callable[[str, bytes], None]


class BrokerSession:
    """One connection to the local broker; a fresh one for each `connect`.

    Every method waits at most `timeout_s` and raises LineDownError where that is not enough.
    """

    def __init__(self, section: BrokerSection, client_id: str) -> None:
        self._section, self._client_id = section, client_id
        self._client: paho.Client | None = None
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._subscribed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def connect(
        self,
        will: tuple[str, bytes, bool],
        wake: Callable[[], None],
        on_message: OnMessage | None = None,
    ) -> None:
        """Connect with the will (topic, payload, retain). `wake` is called when it is lost."""
        client = self._build(wake, on_message)
        topic, payload, retain = will
        client.will_set(topic, payload, qos=1, retain=retain)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        properties.MaximumPacketSize = PACKET_BYTES_MAX
        self._answers = queue.SimpleQueue()
        try:
            client.connect(
                self._section.host,
                self._section.port,
                keepalive=self._section.keepalive_s,
                clean_start=True,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            raise LineDownError(f"{self} cannot be reached: {error}") from error
        client.loop_start()
        self._client = client
        refusal = self._wait(self._answers, "answer to the connection")
        if refusal is not None:
            raise LineDownError(f"{self} refused the connection: {refusal}")

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        """Publish, and wait for the broker's acknowledgement; at `qos` 0 for the socket to take
        it, because the library's own queue has no end."""
        client = self._connected()
        sent = client.publish(topic, payload, qos, retain)
        if sent.rc != paho.MQTT_ERR_SUCCESS:
            raise LineDownError(f"{self} took no message: {paho.error_string(sent.rc)}")
        try:
            sent.wait_for_publish(self._section.timeout_s)
        except (RuntimeError, ValueError) as error:
            raise LineDownError(f"{self} was lost with a message: {error}") from error
        if not sent.is_published():
            raise LineDownError(f"{self} took nothing for {self._section.timeout_s} s")

    def subscribe(self, topic: str) -> None:
        self._subscribed = queue.SimpleQueue()
        self._connected().subscribe(topic, 1)
        if not self._wait(self._subscribed, "subscription"):
            raise LineDownError(f"{self} refused the subscription to {topic}; correct its rules")

    def check(self) -> None:
        self._connected()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            client.disconnect()
            client.loop_stop()

    def __str__(self) -> str:
        return f"the broker {self._section.host}:{self._section.port}"

    def _connected(self) -> paho.Client:
        client = self._client
        if client is None or not client.is_connected():
            raise LineDownError(f"{self} is not connected")
        return client

    def _wait(self, answers: queue.SimpleQueue[Any], what: str) -> Any:
        try:
            return answers.get(timeout=self._section.timeout_s)
        except queue.Empty:
            raise LineDownError(f"{self}: no {what} in {self._section.timeout_s} s") from None

    def _build(self, wake: Callable[[], None], on_message: OnMessage | None) -> paho.Client:
        section = self._section
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = section.timeout_s
        client.max_inflight_messages_set(section.inflight_max)
        client.max_queued_messages_set(section.inflight_max)
        if section.username is not None:
            client.username_pw_set(section.username, section.read_password())
        if section.tls:
            self._secure(client)

        def connected(_c: Any, _d: Any, _f: Any, code: Any, _p: Any) -> None:
            self._answers.put(str(code) if code.is_failure else None)

        def lost(_c: Any, _d: Any, _f: Any, code: Any, _p: Any) -> None:
            self._answers.put(f"the connection ended: {code}")
            wake()

        def subscribed(_c: Any, _d: Any, _m: Any, codes: Any, _p: Any) -> None:
            self._subscribed.put(not any(code.is_failure for code in codes))

        def arrived(_c: Any, _d: Any, message: paho.MQTTMessage) -> None:
            if on_message is not None:
                on_message(message.topic, bytes(message.payload))

        client.on_connect, client.on_disconnect = connected, lost
        client.on_subscribe, client.on_message = subscribed, arrived
        return client

    def _secure(self, client: paho.Client) -> None:
        ca_file = self._section.ca_file
        try:
            client.tls_set(
                ca_certs=None if ca_file is None else str(ca_file),
                tls_version=ssl.PROTOCOL_TLS_CLIENT,
            )
        except (OSError, ssl.SSLError) as error:
            raise OutputError(
                f"channels.{self._section.id}.ca_file: {ca_file} holds no certificates "
                f"({error}); correct the path"
            ) from error


class MqttWriter(Writer):
    """Writer `mqtt`: {topic_root}/{device}/{kind}/{source}, and .../status with a will.

    Of a rule the camera follows, because each camera that a rule watches has a state of its
    own, and a retained topic holds one. A retained state outlives the agent, so one that the
    agent does not vouch for is replaced by one whose `active` is null: before the camera's
    first frame, and at an orderly stop.

    Args:
        watched: the rules that name this channel, each with each of its cameras.
    """

    takes = frozenset(SignalKind)
    holds = frozenset({SignalKind.RULE, SignalKind.STOCK})

    def __init__(
        self,
        section: MqttSection,
        device_id: str,
        clock: Clock,
        watched: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._section, self._clock, self._watched = section, clock, tuple(watched)
        self._base = f"{section.topic_root}/{device_id}"
        self._session = BrokerSession(section, f"{device_id}-{section.id}")

    def open(self, wake: Callable[[], None]) -> None:
        self._session.connect((self._status, _status("offline"), True), wake)
        self._session.publish(self._status, _status("online"), 1, retain=True)

    def restore(self, states: Sequence[Signal]) -> None:
        """The states, and of each rule without one that nothing is known."""
        known = {(s.source, s.camera) for s in states if s.kind is SignalKind.RULE}
        unknown = [pair for pair in self._watched if pair not in known]
        super().restore((*states, *self._unknown(unknown, "no_frame_yet")))

    def write(self, signal: Signal) -> None:
        topic = f"{self._base}/{signal.kind.value}/{signal.source}"
        if signal.kind is SignalKind.RULE:
            topic += f"/{signal.camera}"
        self._session.publish(
            topic,
            body_json(signal),
            self._section.qos,
            retain=self._section.retain and signal.kind in self.holds,
        )

    def tick(self) -> float | None:
        self._session.check()
        return CHECK_EVERY_S

    def leave(self) -> None:
        attempt_all(
            lambda signal=signal: self.write(signal)  # type: ignore[misc]
            for signal in self._unknown(self._watched, "stopped")
        )
        self._session.publish(self._status, _status("offline"), 1, retain=True)

    def close(self) -> None:
        self._session.close()

    def _unknown(self, pairs: Sequence[tuple[str, str]], reason: str) -> list[Signal]:
        """Nothing, where no topic is retained: there is nothing to be replaced."""
        if not self._section.retain:
            return []
        at, kind = self._clock.wall(), SignalKind.RULE
        body = {"kind": kind.value, "at": at, "active": None, "reason": reason}
        return [
            Signal(kind, rule, camera, at, None, body | {"source": rule, "camera": camera})
            for rule, camera in pairs
        ]

    @property
    def _status(self) -> str:
        return f"{self._base}/status"


def _status(word: str) -> bytes:
    return json.dumps({"status": word}).encode()
