"""A hub made of nothing but the protocol's messages, for tests of the real agent.

It answers wants with chunks, acknowledges what it stores, and remembers everything. What
it does wrong is dialled in: chunks lost or corrupted, no chunks at all, no acks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from protocol.bundles import MANIFEST_PATH, Manifest, read_manifest
from protocol.chunks import CHUNK_BYTES, from_ranges
from protocol.messages import (
    Ack,
    Acks,
    Command,
    Desired,
    HarvestPolicy,
    SlotDesired,
    Wants,
    decode,
    encode,
)
from protocol.topics import PATTERNS, Direction, Kind, Topic, TopicSpace
from tests.integration.brokers import RunningBroker

WHOLE_PATH = [
    "QUEUED",
    "DOWNLOADING",
    "DOWNLOADED",
    "VERIFIED",
    "PROVING",
    "PREPARED",
    "SWAPPING",
    "PROBATION",
    "COMMITTING",
    "SUCCEEDED",
]
"""The states of an attempt that nothing holds up, in order."""

DEADLINE_S = 30.0
STREAM_KINDS = {Kind.TELEMETRY: "telemetry", Kind.EVENTS: "events", Kind.SAMPLES: "samples"}


def wait_for(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The condition's first true value. Raises AssertionError naming what never came."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.03)
    raise AssertionError(f"{what} did not come within {deadline_s} s")


class FakeHub:
    """Speaks for the hub of one device."""

    def __init__(self, broker: RunningBroker, device_id: str) -> None:
        self.space, self.device_id = TopicSpace(), device_id
        self._broker = broker
        self._blobs: dict[str, list[bytes]] = {}
        self._lock = threading.RLock()
        self.stored: dict[tuple[str, str, int], Any] = {}
        self.received = 0
        self.image_chunks: dict[tuple[str, int], bytes] = {}
        self.presences: list[Any] = []
        self.reports: list[Any] = []
        self.responses: list[tuple[Any, bytes | None]] = []
        self.wants: list[Wants] = []
        self.chunks_sent = 0
        self.acknowledging = True
        self.silent = False
        self._retained: tuple[Topic, bytes] | None = None
        self.spoil: Callable[[str, int, bytes], bytes | None] = lambda _sha, _index, data: data
        self.generation = 0
        self._client = self._connect()

    def offer(self, folder: Path, digest: str) -> Manifest:
        """Hold the bundle in `folder` ready for whoever wants it."""
        manifest_bytes = (folder / MANIFEST_PATH).read_bytes()
        manifest = read_manifest(manifest_bytes, digest)
        self._blobs[digest] = _cut(manifest_bytes, [CHUNK_BYTES] * 40)
        for entry in manifest.files:
            data = (folder / entry.path).read_bytes()
            self._blobs[entry.blob.sha256] = _cut(data, [c.length for c in entry.blob.chunks])
        return manifest

    def desire(
        self,
        slot: str,
        digest: str,
        manifest: Manifest,
        *,
        attempt: int = 1,
        probation_s: float = 0.3,
        policies: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Publish a desired state with one slot; `policies` are further fields of the slot."""
        self.generation += 1
        wanted = SlotDesired(
            bundle_digest=digest,
            manifest_bytes=sum(map(len, self._blobs[digest])),
            model=manifest.model,
            version=manifest.version,
            rollout_id="r1",
            attempt=attempt,
            probation_s=probation_s,
            **(policies or {}),
        )
        settings: dict[str, Any] = {
            "telemetry_window_s": 0.5,
            "harvest": HarvestPolicy(enabled=False),
            **more,
        }
        desired = Desired(
            device_id=self.device_id, generation=self.generation, slots={slot: wanted}, **settings
        )
        self._retained = (Topic(Kind.DESIRED, self.device_id), encode(desired))
        self.publish_again()

    def publish_again(self) -> None:
        """Publish the desired state anew: the broker may have forgotten it."""
        if self._retained is not None:
            self.publish(*self._retained, retain=True)

    def command(self, command: Command) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self.space.render(Topic(Kind.COMMAND_RESPONSES, self.device_id))
        properties.CorrelationData = command.command_id.encode()
        topic = self.space.render(Topic(Kind.COMMANDS, self.device_id))
        self._client.publish(topic, encode(command), 1, False, properties)

    def publish(self, topic: Topic, payload: bytes, retain: bool = False) -> None:
        self._client.publish(self.space.render(topic), payload, 1, retain)

    def of(self, stream: str) -> list[Any]:
        """What is stored of a stream, in order of its sequence."""
        with self._lock:
            return [m for (name, _, _), m in sorted(self.stored.items()) if name == stream]

    def missing(self, stream: str) -> list[tuple[str, int]]:
        """What never came of a stream though something after it did: epoch and sequence."""
        with self._lock:
            last = {e: n for name, e, n in sorted(self.stored) if name == stream}
            covered = {e: self._covered(stream, e) for e in last}
        return [(e, n) for e in last for n in range(1, last[e]) if n not in covered[e]]

    def states(self, attempt: int = 1) -> list[str]:
        """The states that were told of an attempt, in order."""
        executions = [e.execution for e in self.of("events") if getattr(e, "execution", None)]
        return [e.state.value for e in executions if e.attempt == attempt]

    def running(self, slot: str) -> str | None:
        return self.reports[-1].slots[slot].running_digest if self.reports else None

    def passage(self, attempt: int) -> list[Any]:
        """The reports of an attempt's execution as they were stored, in order."""
        executions = [e.execution for e in self.of("events") if getattr(e, "execution", None)]
        return [e for e in executions if e.attempt == attempt]

    def reconnect(self) -> None:
        """After the broker was away."""
        self.close()
        self._client = self._connect()
        self.publish_again()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connect(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "hub", protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(50)
        client.on_message = self._on_message
        client.connect(self._broker.host, self._broker.port)
        client.loop_start()
        kinds = [k for k, p in PATTERNS.items() if p.direction is Direction.FROM_DEVICE]
        client.subscribe([(self.space.filter(kind, self.device_id), 1) for kind in kinds])
        return client

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if self.silent:
            return
        topic = self.space.parse(message.topic)
        if topic.kind is Kind.SAMPLE_CHUNK:
            self.image_chunks[topic.sha256, topic.index] = message.payload
            return
        decoded = decode(topic.kind, message.payload)
        if topic.kind in STREAM_KINDS:
            self._store(STREAM_KINDS[topic.kind], decoded)
        elif topic.kind is Kind.WANTS:
            self.wants.append(decoded)
            self._send_chunks(decoded)
        elif topic.kind is Kind.PRESENCE:
            self.presences.append(decoded)
        elif topic.kind is Kind.REPORTED:
            self.reports.append(decoded)
        elif topic.kind is Kind.COMMAND_RESPONSES:
            self.responses.append((decoded, getattr(message.properties, "CorrelationData", None)))

    def _store(self, stream: str, message: Any) -> None:
        with self._lock:
            self.received += 1
            self.stored[stream, message.epoch, message.sequence] = message
            if self.acknowledging:
                acked = self._contiguous(stream, message.epoch)
                ack = Ack(stream=stream, epoch=message.epoch, sequence=acked)
                acks = Acks(device_id=self.device_id, acks=(ack,))
                self.publish(Topic(Kind.ACKS, self.device_id), encode(acks))

    def _contiguous(self, stream: str, epoch: str) -> int:
        covered, acked = self._covered(stream, epoch), 0
        while acked + 1 in covered:
            acked += 1
        return acked

    def _covered(self, stream: str, epoch: str) -> set[int]:
        covered: set[int] = set()
        for (name, of_epoch, sequence), message in self.stored.items():
            if (name, of_epoch) == (stream, epoch):
                first = getattr(message, "first_sequence", sequence)
                covered.update(range(first, sequence + 1))
        return covered

    def _send_chunks(self, wants: Wants) -> None:
        for want in wants.blobs:
            pieces = self._blobs.get(want.sha256, [])
            for index in sorted(from_ranges(want.ranges)):
                data = (
                    self.spoil(want.sha256, index, pieces[index]) if index < len(pieces) else None
                )
                if data is not None:
                    self.chunks_sent += 1
                    self.publish(Topic(Kind.BLOB_CHUNK, sha256=want.sha256, index=index), data)


def _cut(data: bytes, lengths: list[int]) -> list[bytes]:
    pieces, start = [], 0
    for length in lengths:
        if start < len(data):
            pieces.append(data[start : start + length])
        start += length
    return pieces
