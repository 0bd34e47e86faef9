"""The device's MQTT side, and its only use of paho.

Each connection is a session of its own: a fresh paho client with a fresh will (paho takes
the will before connecting, and the will carries the session's number), subscribed and
announced anew. Nothing that must arrive is left to paho's queues: it is in the outbox, and
a lost session loses only copies.

Threads: `link` connects and waits; paho's own thread puts what arrives into the inbox and
nothing else. A full inbox makes it wait, which holds back the broker's acknowledgements
and so the broker (receive maximum); only after `connect_timeout_s` is a message dropped,
and counted.
"""

from __future__ import annotations

import queue
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.backoff import backoff_s
from edge_agent.clock import Clock
from edge_agent.config import Limits, MqttSection
from protocol.errors import DecodeError, ProtocolError, TopicError
from protocol.messages import Presence, decode, encode
from protocol.topics import Kind, Topic, TopicSpace

SUBSCRIBED = (Kind.DESIRED, Kind.ACKS, Kind.COMMANDS)
QOS = 1
RESPONSE_TOPIC_BYTES_MAX = 512
CORRELATION_BYTES_MAX = 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reply:
    """Where an answer is expected, as the request said (MQTT 5 response topic)."""

    topic: str
    correlation: bytes | None


@dataclass(frozen=True)
class Inbound:
    """What arrived: a decoded message, or a chunk's raw bytes."""

    topic: Topic
    message: Any
    reply: Reply | None = None


@dataclass(frozen=True)
class LinkUp:
    """A session began; its number has been persisted."""

    session_epoch: int


@dataclass(frozen=True)
class LinkDown:
    reason: str


Deliver = Callable[[object, float], bool]
"""Takes an Inbound, LinkUp or LinkDown within so many seconds; False where it could not."""


class MqttLink:
    """Keeps the device connected for as long as it runs; never gives up."""

    def __init__(
        self,
        device_id: str,
        boot_id: str,
        settings: MqttSection,
        limits: Limits,
        *,
        deliver: Deliver,
        next_epoch: Callable[[], int],
        clock: Clock,
        rng: Random,
    ) -> None:
        """`next_epoch` persists and returns the next session's number."""
        self._device_id, self._boot_id = device_id, boot_id
        self._settings, self._limits = settings, limits
        self._space = TopicSpace(settings.root)
        self._deliver, self._next_epoch = deliver, next_epoch
        self._clock, self._rng = clock, rng
        self._client: paho.Client | None = None
        self._wanted_blobs: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._lost: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._up_at: float | None = None
        self.session_epoch = 0
        self.counters: Counter[str] = Counter()

    @property
    def connected(self) -> bool:
        client = self._client
        return client is not None and client.is_connected()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Say offline, disconnect, and end the threads."""
        client = self._client
        if client is not None and client.is_connected():
            sent = client.publish(
                self._space.render(Topic(Kind.PRESENCE, self._device_id)),
                self._presence("offline", self.session_epoch),
                QOS,
                retain=True,
            )
            try:
                sent.wait_for_publish(timeout_s / 2)
            except (RuntimeError, ValueError):
                log.info("offline_not_said", remedy="the broker's will says it")
        self._stopping.set()
        self._lost.put("stopping")
        self._thread.join(timeout_s / 2)

    def publish(self, topic: Topic, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a message to the session; whether it was taken (not: whether it arrived)."""
        return self._publish(self._space.render(topic), payload, retain, None)

    def answer(self, reply: Reply, payload: bytes) -> bool:
        """Answer a request where it asked to be answered, with its correlation data."""
        properties = _properties(PacketTypes.PUBLISH)
        if reply.correlation is not None:
            properties.CorrelationData = reply.correlation
        return self._publish(reply.topic, payload, False, properties)

    def want_blob(self, sha256: str) -> None:
        """Hear the chunks of a blob, in this session and those that follow.

        Two downloads may want the same blob: it is heard until each has said `unwant_blob`.
        """
        self._wanted_blobs[sha256] += 1
        if (client := self._client) is not None and client.is_connected():
            client.subscribe(self._space.filter(Kind.BLOB_CHUNK, sha256=sha256), QOS)

    def unwant_blob(self, sha256: str) -> None:
        self._wanted_blobs[sha256] -= 1
        if self._wanted_blobs[sha256] > 0:
            return
        del self._wanted_blobs[sha256]
        if (client := self._client) is not None and client.is_connected():
            client.unsubscribe(self._space.filter(Kind.BLOB_CHUNK, sha256=sha256))

    def _publish(
        self, text: str, payload: bytes, retain: bool, properties: Properties | None
    ) -> bool:
        client = self._client
        if client is None or not client.is_connected():
            return False
        info = client.publish(text, payload, QOS, retain, properties)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            self.counters["link_publish_refused"] += 1
            return False
        return True

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._up_at = None
            reason = self._session()
            up_s = 0.0 if self._up_at is None else self._clock.monotonic() - self._up_at
            failures = 1 if up_s >= self._limits.stable_after_s else failures + 1
            if self._stopping.is_set():
                return
            wait_s = backoff_s(
                failures, self._limits.reconnect_first_s, self._limits.reconnect_cap_s, self._rng
            )
            log.warning(
                "link_down", reason=reason, up_s=round(up_s, 1), retry_in_s=round(wait_s, 2)
            )
            self._deliver(LinkDown(reason), self._limits.connect_timeout_s)
            self._stopping.wait(wait_s)

    def _session(self) -> str:
        """One connection from its first byte to its last; returns why it ended."""
        while not self._lost.empty():
            self._lost.get()
        try:
            self.session_epoch = self._next_epoch()
            client = self._build_client(self.session_epoch)
            client.connect(
                self._settings.host,
                self._settings.port,
                keepalive=self._limits.keepalive_s,
                clean_start=True,
                properties=self._connect_properties(),
            )
        except (OSError, ValueError) as error:
            return f"cannot connect to {self._settings.host}:{self._settings.port}: {error}"
        self._client = client
        client.loop_start()
        try:
            return self._lost.get()
        finally:
            self._client = None
            client.disconnect()
            client.loop_stop()
            self.counters["link_sessions"] += 1

    def _build_client(self, epoch: int) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._device_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._limits.connect_timeout_s
        client.max_inflight_messages_set(self._limits.mqtt_inflight_max)
        client.max_queued_messages_set(self._limits.mqtt_queued_max)
        client.will_set(
            self._space.render(Topic(Kind.PRESENCE, self._device_id)),
            self._presence("offline", epoch),
            QOS,
            retain=True,
        )
        username = self._settings.username
        if username is not None:
            client.username_pw_set(username, self._settings.password)
        if self._settings.tls:
            ca_file = self._settings.ca_file
            client.tls_set(
                ca_certs=None if ca_file is None else str(ca_file),
                tls_version=ssl.PROTOCOL_TLS_CLIENT,
            )
        if self._settings.proxy is not None:
            client.proxy_set(**proxy_arguments(self._settings.proxy))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _connect_properties(self) -> Properties:
        properties = _properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = self._limits.mqtt_receive_max
        properties.MaximumPacketSize = self._limits.mqtt_packet_bytes_max
        properties.SessionExpiryInterval = 0
        return properties

    def _presence(self, status: Any, epoch: int) -> bytes:
        return encode(
            Presence(
                device_id=self._device_id,
                status=status,
                boot_id=self._boot_id,
                session_epoch=epoch,
            )
        )

    # ---- paho's thread ---------------------------------------------------------------

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        if code.is_failure:
            self._lost.put(f"the broker refused the connection: {code}")
            return
        self._up_at = self._clock.monotonic()
        filters = [self._space.filter(kind, self._device_id) for kind in SUBSCRIBED]
        filters += [
            self._space.filter(Kind.BLOB_CHUNK, sha256=sha) for sha in tuple(self._wanted_blobs)
        ]
        client.subscribe([(text, QOS) for text in filters])
        client.publish(
            self._space.render(Topic(Kind.PRESENCE, self._device_id)),
            self._presence("online", self.session_epoch),
            QOS,
            retain=True,
        )
        log.info("link_up", broker=self._settings.host, session_epoch=self.session_epoch)
        self._deliver(LinkUp(self.session_epoch), self._limits.connect_timeout_s)

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: Any, _properties: Any
    ) -> None:
        self._lost.put(f"the connection ended: {code}")

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            inbound = self._read(message)
        except ProtocolError as error:
            self.counters["link_malformed"] += 1
            log.warning("message_refused", topic=message.topic[:200], reason=str(error))
            return
        if not self._deliver(inbound, self._limits.connect_timeout_s):
            self.counters["link_inbox_dropped"] += 1
            log.error("message_dropped", topic=message.topic, reason="the inbox stayed full")

    def _read(self, message: paho.MQTTMessage) -> Inbound:
        topic = self._space.parse(message.topic)
        payload = bytes(message.payload)
        if topic.kind is Kind.BLOB_CHUNK:
            return Inbound(topic, payload)
        if topic.kind not in SUBSCRIBED:
            raise TopicError(f"{topic.kind.value} is nothing that a device listens to")
        decoded = decode(topic.kind, payload)
        if decoded.device_id != self._device_id:
            raise DecodeError(f"{topic.kind.value}: is for the device {decoded.device_id}")
        return Inbound(topic, decoded, _reply(message.properties))


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]


def _reply(properties: Any) -> Reply | None:
    topic = getattr(properties, "ResponseTopic", None)
    correlation = getattr(properties, "CorrelationData", None)
    if not topic or len(topic) > RESPONSE_TOPIC_BYTES_MAX or set(topic) & {"+", "#"}:
        return None
    if correlation is not None and len(correlation) > CORRELATION_BYTES_MAX:
        return None
    return Reply(topic, correlation)


def proxy_arguments(url: str) -> dict[str, Any]:
    """paho's proxy settings for http://… or socks5://… (names are resolved by the proxy)."""
    import socks

    parts = urlsplit(url)
    kind = socks.HTTP if parts.scheme.startswith("http") else socks.SOCKS5
    return {
        "proxy_type": kind,
        "proxy_addr": parts.hostname,
        "proxy_port": parts.port,
        "proxy_rdns": True,
        "proxy_username": parts.username,
        "proxy_password": parts.password,
    }
