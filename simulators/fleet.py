"""Many virtual devices in one process, each with its own connection, will and session."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from protocol.messages import decode
from protocol.topics import Kind, TopicSpace
from simulators.device import Dials, Outgoing, VirtualDevice

TICK_S = 0.05
KEEPALIVE_S = 30
INFLIGHT_MESSAGES_MAX = 100
_ADDRESSED = (Kind.DESIRED, Kind.ACKS)


@dataclass(frozen=True)
class Broker:
    """Where the fleet connects."""

    host: str
    port: int
    root: str


@dataclass
class _Member:
    """A device with its connection. The lock keeps the network's thread and ours apart."""

    device: VirtualDevice
    client: Client
    lock: threading.Lock = field(default_factory=threading.Lock)
    listening: set[str] = field(default_factory=set)
    back_at: float | None = None
    online: bool = False


class Fleet:
    """Runs `devices` against one broker; `rng` decides when each goes away."""

    def __init__(
        self, devices: Iterable[VirtualDevice], broker: Broker, rng: random.Random
    ) -> None:
        self._broker = broker
        self._space = TopicSpace(broker.root)
        self._rng = rng
        self._members = [self._member(device) for device in devices]

    @property
    def devices(self) -> Sequence[VirtualDevice]:
        return [member.device for member in self._members]

    @property
    def online(self) -> int:
        return sum(member.online for member in self._members)

    def run(self, stopping: threading.Event) -> None:
        """Live until `stopping`, then say goodbye."""
        for member in self._members:
            self._connect(member)
        while not stopping.wait(TICK_S):
            now = time.time()
            for member in self._members:
                self._tick(member, now)
        for member in self._members:
            self._leave(member)

    def _member(self, device: VirtualDevice) -> _Member:
        client = Client(CallbackAPIVersion.VERSION2, client_id=device.device_id, protocol=MQTTv5)
        client.max_inflight_messages_set(INFLIGHT_MESSAGES_MAX)
        member = _Member(device, client)

        def on_connect(
            _client: Client,
            _data: object,
            _flags: ConnectFlags,
            reason: ReasonCode,
            _properties: Properties | None,
        ) -> None:
            if not reason.is_failure:
                self._connected(member)

        def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
            self._take(member, message)

        client.on_connect = on_connect
        client.on_message = on_message
        return member

    def _connect(self, member: _Member) -> None:
        """Begin a session: its will says which one it was."""
        will = member.device.begin_session()
        topic = self._space.render(will.topic)
        member.client.will_set(topic, will.payload, qos=1, retain=True)
        member.back_at = None
        member.client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        member.client.loop_start()

    def _connected(self, member: _Member) -> None:
        own = [(self._space.filter(k, device_id=member.device.device_id), 1) for k in _ADDRESSED]
        member.client.subscribe(own)
        with member.lock:
            member.listening.clear()
            outgoing = member.device.connected(time.time())
        member.online = True
        self._publish(member, outgoing)

    def _take(self, member: _Member, message: MQTTMessage) -> None:
        topic, payload = self._space.parse(message.topic), bytes(message.payload)
        with member.lock:
            if topic.kind is Kind.DESIRED:
                member.device.desired(decode(Kind.DESIRED, payload), time.time())
            elif topic.kind is Kind.ACKS:
                member.device.acks(decode(Kind.ACKS, payload))
            elif topic.kind is Kind.BLOB_CHUNK:
                member.device.chunk(topic.sha256, topic.index, payload)

    def _tick(self, member: _Member, now: float) -> None:
        if member.back_at is not None:
            if now >= member.back_at:
                self._connect(member)
            return
        if not member.online:
            return
        dials = member.device.dials
        # Away for offline_s each time, so that in the mean the share `offline` comes out.
        leave_per_s = dials.offline / ((1 - dials.offline) * max(dials.offline_s, TICK_S))
        if self._rng.random() < leave_per_s * TICK_S:
            self._drop(member)
            member.back_at = now + dials.offline_s
            return
        with member.lock:
            outgoing = member.device.tick(now)
            wanted = member.device.wanted_blobs()
        self._listen(member, wanted)
        self._publish(member, outgoing)

    def _listen(self, member: _Member, wanted: set[str]) -> None:
        for sha256 in wanted - member.listening:
            member.client.subscribe(self._space.filter(Kind.BLOB_CHUNK, sha256=sha256), qos=1)
        for sha256 in member.listening - wanted:
            member.client.unsubscribe(self._space.filter(Kind.BLOB_CHUNK, sha256=sha256))
        member.listening = wanted

    def _publish(self, member: _Member, outgoing: Iterable[Outgoing]) -> None:
        for message in outgoing:
            topic = self._space.render(message.topic)
            member.client.publish(topic, message.payload, qos=1, retain=message.retained)

    def _drop(self, member: _Member) -> None:
        """Vanish as a power cut would: the broker speaks the will."""
        member.online = False
        connection = member.client.socket()
        member.client.loop_stop()
        if connection is not None:
            connection.close()

    def _leave(self, member: _Member) -> None:
        if member.online:
            self._publish(member, [member.device.presence("offline")])
        if member.client.disconnect() is MQTTErrorCode.MQTT_ERR_SUCCESS:
            member.online = False
        member.client.loop_stop()


def make_devices(
    names: Iterable[str], slots: Sequence[str], dials: Dials, seed: int
) -> list[VirtualDevice]:
    """Devices with these names, each with its own dice of `seed`."""
    return [VirtualDevice(n, slots, dials, random.Random(f"{seed}:{n}")) for n in names]
