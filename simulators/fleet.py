"""Many virtual devices in one process and one thread, each with its own connection and will."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocol.messages import decode
from protocol.topics import Kind, TopicSpace
from simulators.agenda import Agenda
from simulators.device import Outgoing, VirtualDevice
from simulators.dials import Dials
from simulators.poll import Poll

TURN_S_MAX = 0.1
KEEPALIVE_S = 60
CONNECTS_A_TURN = 50
"""New connections between two polls, so that the ones that stand are not kept waiting."""
BACK_AFTER_S_MAX = 5.0
GOODBYE_S_MAX = 10.0
INFLIGHT_MESSAGES_MAX = 100
RECEIVE_MAX = 2
"""Messages that the broker may have under way to one device: of chunks a quarter of a
megabyte. Thousands of devices on one machine share what its TCP may hold."""
TOPICS_CACHED_MAX = 65_536
_ADDRESSED = (Kind.DESIRED, Kind.ACKS)


@dataclass(frozen=True)
class Broker:
    """Where the fleet connects."""

    host: str
    port: int
    root: str


@dataclass(eq=False)
class _Member:
    """A device with its connection.

    Attributes:
        back_at: when it connects (again); None while it is connected or about to be.
        leave_at: when it goes away without a word.
        alive_at: when its connection has to be looked after.
    """

    device: VirtualDevice
    client: Client
    listening: set[str] = field(default_factory=set)
    online: bool = False
    back_at: float | None = 0.0
    leave_at: float = math.inf
    alive_at: float = 0.0


class Fleet:
    """Runs `devices` against one broker; `rng` decides when each goes away."""

    def __init__(
        self, devices: Iterable[VirtualDevice], broker: Broker, rng: random.Random
    ) -> None:
        self._broker = broker
        self._space = TopicSpace(broker.root)
        self._parse = lru_cache(TOPICS_CACHED_MAX)(self._space.parse)
        self._rng = rng
        self._poll = Poll()
        self._agenda: Agenda[_Member] = Agenda()
        self._stirred: dict[_Member, None] = {}
        self._joining: dict[_Member, None] = {}
        self._members = [self._member(device) for device in devices]

    @property
    def devices(self) -> Sequence[VirtualDevice]:
        return [member.device for member in self._members]

    @property
    def online(self) -> int:
        return sum(member.online for member in self._members)

    def run(self, stopping: threading.Event) -> None:
        """Live until `stopping`, then say goodbye."""
        self._joining.update(dict.fromkeys(self._members))
        while not stopping.is_set():
            self._turn()
        self._leave()

    def _turn(self) -> None:
        """Hear first, so that nobody asks for what has come meanwhile; then do what is due."""
        until = self._agenda.next_at() - time.time()
        self._poll.turn(0.0 if self._joining else min(TURN_S_MAX, until))
        now = time.time()
        for member in self._agenda.due(now):
            self._stirred[member] = None
        stirred, self._stirred = self._stirred, {}
        for member in stirred:
            self._tick(member, now)
        for member in list(self._joining)[:CONNECTS_A_TURN]:
            del self._joining[member]
            self._connect(member, now)
        self._poll.flush()

    def _member(self, device: VirtualDevice) -> _Member:
        client = Client(CallbackAPIVersion.VERSION2, client_id=device.device_id, protocol=MQTTv5)
        client.max_inflight_messages_set(INFLIGHT_MESSAGES_MAX)
        member = _Member(device, client)
        client.user_data_set(member)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._poll.add(client)
        return member

    # ---- the connection ------------------------------------------------------------------

    def _connect(self, member: _Member, now: float) -> None:
        """Begin a session: its will says which one it was."""
        will = member.device.begin_session()
        topic = self._space.render(will.topic)
        member.client.will_set(topic, will.payload, qos=1, retain=True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = RECEIVE_MAX
        member.back_at = None
        try:
            member.client.connect(
                self._broker.host, self._broker.port, KEEPALIVE_S, properties=properties
            )
        except OSError:
            self._come_back(member, now + self._rng.uniform(0, BACK_AFTER_S_MAX))
            return
        member.alive_at = now + KEEPALIVE_S / 4
        self._agenda.set(member, member.alive_at)

    def _come_back(self, member: _Member, at: float) -> None:
        member.online = False
        member.back_at = at
        self._agenda.set(member, at)

    def _on_connect(
        self, client: Client, member: _Member, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            return  # the broker closes the connection
        now = time.time()
        own = [(self._space.filter(k, device_id=member.device.device_id), 1) for k in _ADDRESSED]
        client.subscribe(own)
        member.listening = set()
        member.online = True
        member.leave_at = now + self._stay_s(member.device.dials)
        self._publish(member, member.device.connected(now))
        self._stirred[member] = None

    def _on_disconnect(
        self, _client: Client, member: _Member, _flags: Any, _reason: Any, _properties: Any
    ) -> None:
        self._come_back(member, time.time() + self._rng.uniform(0, BACK_AFTER_S_MAX))

    def _stay_s(self, dials: Dials) -> float:
        """How long it stays: with offline_s away each time, the share `offline` comes out."""
        if not dials.offline:
            return math.inf
        mean_s = max(dials.offline_s, TURN_S_MAX) * (1 - dials.offline) / dials.offline
        return self._rng.expovariate(1 / mean_s)

    # ---- what arrives and what goes out ---------------------------------------------------

    def _on_message(self, _client: Client, member: _Member, message: MQTTMessage) -> None:
        topic, payload = self._parse(message.topic), bytes(message.payload)
        if topic.kind is Kind.DESIRED:
            member.device.desired(decode(Kind.DESIRED, payload), time.time())
        elif topic.kind is Kind.ACKS:
            member.device.acks(decode(Kind.ACKS, payload))
        elif topic.kind is Kind.BLOB_CHUNK:
            member.device.chunk(topic.sha256, topic.index, payload, time.time())
        self._stirred[member] = None

    def _tick(self, member: _Member, now: float) -> None:
        """Whatever is due for one device; then note when it is due again."""
        if member.back_at is not None:
            if now >= member.back_at:
                member.back_at = None
                self._joining[member] = None
            return
        if now >= member.leave_at:
            self._vanish(member, now)
            return
        if now >= member.alive_at:
            member.alive_at = now + KEEPALIVE_S / 4
            member.client.loop_misc()
        at = member.alive_at
        if member.online:
            outgoing = member.device.tick(now)
            self._listen(member, member.device.wanted_blobs())
            self._publish(member, outgoing)
            at = min(at, member.leave_at, member.device.due_at())
        self._agenda.set(member, at)

    def _listen(self, member: _Member, wanted: set[str]) -> None:
        if wanted == member.listening:
            return
        new, over = wanted - member.listening, member.listening - wanted
        if new:
            member.client.subscribe([(self._chunks_of(sha256), 1) for sha256 in new])
        if over:
            member.client.unsubscribe([self._chunks_of(sha256) for sha256 in over])
        member.listening = wanted

    def _chunks_of(self, sha256: str) -> str:
        return self._space.filter(Kind.BLOB_CHUNK, sha256=sha256)

    def _publish(self, member: _Member, outgoing: Iterable[Outgoing]) -> None:
        for message in outgoing:
            topic = self._space.render(message.topic)
            member.client.publish(topic, message.payload, qos=1, retain=message.retained)

    # ---- going away -----------------------------------------------------------------------

    def _vanish(self, member: _Member, now: float) -> None:
        """Go as a power cut would have it: the broker speaks the will."""
        self._poll.cut(member.client)
        self._come_back(member, now + member.device.dials.offline_s)

    def _leave(self) -> None:
        """Say goodbye. A connection ends once the broker has the word, which it might lose."""
        words = {}
        for member in self._members:
            member.client.on_disconnect = None
            if member.online:
                word = member.device.presence("offline")
                topic = self._space.render(word.topic)
                words[member] = member.client.publish(topic, word.payload, qos=1, retain=True)
        deadline = time.monotonic() + GOODBYE_S_MAX
        while words:
            over = time.monotonic() > deadline
            for member in [m for m, said in words.items() if over or said.is_published()]:
                del words[member]
                member.client.disconnect()
                member.online = False
            self._poll.turn(TURN_S_MAX if words else 0.0)
        self._poll.close()


def make_devices(
    names: Iterable[str], slots: Sequence[str], dials: Dials, seed: int, born: int = 0
) -> list[VirtualDevice]:
    """Devices with these names, each with its own dice of `seed`.

    born: higher for each fleet of these names, which remembers nothing of the one before it: its
        sessions count on from there, and its streams are new ones, so that the hub hears it.
    """
    made = [VirtualDevice(n, slots, dials, random.Random(f"{seed}:{born}:{n}")) for n in names]
    for device in made:
        device.session_epoch = born
    return made
