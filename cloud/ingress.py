"""The hub's link to the broker; the only module of the hub that speaks MQTT.

A session begins with subscribing and with publishing all standing messages anew, because
the broker may have forgotten them. Every failure ends in another attempt after a delay
with full jitter, for ever.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import socks
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from cloud.broker import BrokerAddress
from cloud.errors import ConfigurationError
from cloud.inbound import Counters
from cloud.settings import MqttSettings
from protocol.topics import PATTERNS, Direction, Topic, TopicSpace

log = logging.getLogger(__name__)

PROXY_TYPES = {"http": socks.HTTP, "socks5": socks.SOCKS5, "socks5h": socks.SOCKS5}
STABLE_AFTER_S = 30.0
POLL_S = 0.5

Standing = Callable[[], Iterable[tuple[Topic, bytes]]]


class Delivery:
    """A message on its way to the broker."""

    def __init__(self, info: mqtt.MQTTMessageInfo) -> None:
        self._info = info

    def wait(self, timeout_s: float) -> bool:
        """Whether the broker has taken it, after at most `timeout_s`."""
        try:
            self._info.wait_for_publish(timeout_s)
            return self._info.is_published()
        except (ValueError, RuntimeError):
            return False


class Ingress:
    """Receives what devices publish and publishes what the hub has to say.

    Args:
        receive: takes topic and payload of each message; may block, which holds the
            broker back.
        standing: every message that a broker must hold, for one that may have forgotten.
    """

    def __init__(
        self,
        settings: MqttSettings,
        address: BrokerAddress,
        client_id: str,
        *,
        receive: Callable[[str, bytes], None],
        standing: Standing,
        counters: Counters,
    ) -> None:
        self._settings, self._address = settings, address
        self._space = TopicSpace(settings.root)
        self._receive, self._standing, self._counters = receive, standing, counters
        self._inflight_max = settings.inflight_messages_max
        self._client = self._make_client(client_id)
        self._stopping = threading.Event()
        self._gone = threading.Event()
        self._up = threading.Event()
        self._up_at = 0.0
        self._thread = threading.Thread(target=self._run, name="ingress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye to the broker and end."""
        self._stopping.set()
        self._gone.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def connected(self) -> bool:
        """Whether the link stands and is subscribed."""
        return self._up.is_set()

    @property
    def linked_since(self) -> float | None:
        """When the link came up, in Unix seconds; None while it is down."""
        return self._up_at if self._up.is_set() else None

    def wait_connected(self, timeout_s: float) -> bool:
        return self._up.wait(timeout_s)

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Publish at least once; retained where the topic's kind is."""
        self.send(topic, payload)

    def send(self, topic: Topic, payload: bytes) -> Delivery:
        """Publish, and say how to wait for the broker to have it."""
        info = self._client.publish(
            self._space.render(topic), payload, qos=1, retain=PATTERNS[topic.kind].retained
        )
        if info.rc == mqtt.MQTT_ERR_QUEUE_SIZE:
            self._counters.count("publish_dropped_queue_full")
        self._counters.add(
            {
                f"published.{topic.kind.value}": 1,
                f"published_bytes.{topic.kind.value}": len(payload),
            }
        )
        return Delivery(info)

    def _make_client(self, client_id: str) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(self._inflight_max)
        client.max_queued_messages_set(self._settings.queued_messages_max)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(
                self._settings.username, password.get_secret_value() if password else None
            )
        if self._address.tls:
            ca_file = self._settings.ca_file
            client.tls_set(ca_certs=str(ca_file) if ca_file else None)
        if self._settings.proxy is not None:
            client.proxy_set(**proxy_arguments(self._settings.proxy))
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._session()
            except Exception:  # whatever it is, the hub must not stay without its link
                log.exception("the session with the broker failed")
            stable = time.monotonic() - began >= STABLE_AFTER_S
            attempt = 0 if stable else attempt + 1
            if not self._stopping.is_set():
                self._counters.count("reconnects")
                self._stopping.wait(self._delay_s(attempt))

    def _session(self) -> None:
        """One connection, from its beginning to its end."""
        self._gone.clear()
        if self._stopping.is_set():
            return
        self._client.max_inflight_messages_set(self._inflight_max)
        try:
            self._client.connect(
                self._address.host,
                self._address.port,
                keepalive=self._settings.keepalive_s,
                clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY,
                properties=self._connect_properties(),
            )
        except (OSError, socks.ProxyError, ValueError) as error:
            log.warning("no link to the broker %s: %s; trying again", self._address, error)
            self._client.disconnect()  # else it counts as still connecting
            return
        self._client.loop_start()
        try:
            self._attend()
        finally:
            self._up.clear()
            self._client.disconnect()
            self._client.loop_stop()

    def _attend(self) -> None:
        """While the session lasts: publish what stands, once it is subscribed."""
        told = False
        while not self._gone.wait(POLL_S if told else 0.02):
            if self._up.is_set() and not told:
                try:
                    for topic, payload in self._standing():
                        self.publish(topic, payload)
                    told = True
                except Exception:  # the database may be out for a while, the link is not
                    log.exception("standing messages cannot be published yet")
                    self._gone.wait(POLL_S)

    def _on_connect(
        self, client: mqtt.Client, _: Any, __: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            log.error("the broker refuses the hub: %s; check mqtt.username and password", reason)
            self._gone.set()
            return
        # The broker's own bound on messages in flight counts from the next session on.
        bound = getattr(properties, "ReceiveMaximum", self._inflight_max)
        if bound < self._inflight_max:
            self._inflight_max = bound
            self._gone.set()
            return
        options = SubscribeOptions(qos=1)
        client.subscribe([(topic_filter, options) for topic_filter in self._filters()])

    def _on_subscribe(self, _: Any, __: Any, ___: Any, reasons: Any, ____: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            log.error("the broker refuses the hub's subscriptions: %s; check its rules", refused)
            self._gone.set()
            return
        log.info("linked to the broker %s", self._address)
        self._up_at = time.time()
        self._up.set()

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if not self._stopping.is_set():
            log.warning("the link to the broker is lost: %s", reason)
        self._up.clear()
        self._gone.set()

    def _on_message(self, _: Any, __: Any, message: mqtt.MQTTMessage) -> None:
        self._receive(message.topic, bytes(message.payload))

    def _filters(self) -> list[str]:
        """Subscriptions; what is retained is not shared, as brokers do not retain for shares."""
        group = self._settings.shared_group
        return [
            f"$share/{group}/{self._space.filter(kind)}"
            if group and not pattern.retained
            else self._space.filter(kind)
            for kind, pattern in PATTERNS.items()
            if pattern.direction is Direction.FROM_DEVICE
        ]

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.session_expiry_s
        properties.ReceiveMaximum = self._settings.receive_maximum
        return properties

    def _delay_s(self, attempt: int) -> float:
        cap = min(
            self._settings.reconnect_delay_max_s,
            self._settings.reconnect_delay_first_s * 2 ** min(attempt, 16),
        )
        return random.uniform(0, cap)  # noqa: S311 - jitter


def proxy_arguments(url: str) -> dict[str, Any]:
    """What paho's proxy_set takes, from http://… or socks5://…. Raises ConfigurationError."""
    parts = urlsplit(url)
    if parts.scheme not in PROXY_TYPES or not parts.hostname or not parts.port:
        raise ConfigurationError(
            f"mqtt.proxy {url!r} is no proxy", "write http://host:port or socks5://host:port"
        )
    return {
        "proxy_type": PROXY_TYPES[parts.scheme],
        "proxy_addr": parts.hostname,
        "proxy_port": parts.port,
        "proxy_username": parts.username,
        "proxy_password": parts.password,
    }


def client_name(prefix: str) -> str:
    """A client id that no other ingress has: the host's name and chance."""
    return f"{prefix}-{socket.gethostname()[:32]}-{random.getrandbits(32):08x}"
