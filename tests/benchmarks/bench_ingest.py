"""How fast the hub stores telemetry, against a subscriber that stores nothing.

One broker, the same messages, in turns. A publisher in a process of its own writes
prepared packets, so that the subscriber is the slow side.
"""

from __future__ import annotations

import functools
import multiprocessing
import socket
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from cloud import settings
from cloud.access.principal import Role, service_principal
from cloud.fleet import service as fleet
from cloud.hub import Hub
from protocol.histograms import confidence_histogram
from protocol.messages import TelemetryReport, encode
from protocol.topics import Kind, Topic, TopicSpace
from protocol.windows import ClassStats, WindowStats
from tests.benchmarks.harness import Row, bootstrap_interval, in_turns, median_ratio, row, spread
from tests.integration.brokers import RunningBroker, embedded

MESSAGES = 6000
DEVICES = 20
REPETITIONS = 7
PUBLISHES_IN_FLIGHT = 50
DEADLINE_S = 120.0
SPACE = TopicSpace()
OPERATOR = service_principal("bench", Role.OPERATOR)


def payloads() -> list[tuple[str, bytes]]:
    """Topic and payload of MESSAGES windows of DEVICES devices, in new outboxes."""
    seen = ClassStats(confidence=confidence_histogram().add([0.3, 0.6, 0.8, 0.9]), served=4)
    stats = WindowStats(
        frames_captured=600,
        frames_inferred=590,
        frames_dropped={"newest_wins": 10},
        served_confidence_sum=2.6,
        classes={0: seen, 1: seen, 2: seen},
    )
    epochs = [uuid.uuid4().hex for _ in range(DEVICES)]
    made = []
    for number in range(MESSAGES):
        device = number % DEVICES
        report = TelemetryReport(
            device_id=f"line-{device}",
            epoch=epochs[device],
            sequence=number // DEVICES + 1,
            camera="cam",
            slot="factory",
            bundle_digest="ab" * 32,
            window_start=60.0 * number,
            window_end=60.0 * number + 60,
            stats=stats,
        )
        topic = SPACE.render(Topic(Kind.TELEMETRY, device_id=report.device_id))
        made.append((topic, encode(report)))
    return made


def varint(value: int) -> bytes:
    """MQTT's variable byte integer."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def publish_packet(packet_id: int, topic: str, payload: bytes) -> bytes:
    """An MQTT 5 PUBLISH of QoS 1 without properties."""
    body = text(topic) + packet_id.to_bytes(2, "big") + b"\x00" + payload
    return b"\x32" + varint(len(body)) + body


def publish(port: int, messages: list[tuple[str, bytes]]) -> None:
    """Publish at QoS 1, a few in flight, with as little work of our own as can be."""
    packets = [
        publish_packet(number % 60_000 + 1, topic, payload)
        for number, (topic, payload) in enumerate(messages)
    ]
    with socket.create_connection(("127.0.0.1", port)) as link:
        body = text("MQTT") + b"\x05\x02\x00\x3c\x00" + text(f"bench-{uuid.uuid4().hex[:8]}")
        link.sendall(b"\x10" + varint(len(body)) + body)
        link.recv(4096)
        reader = link.makefile("rb")
        for start in range(0, len(packets), PUBLISHES_IN_FLIGHT):
            batch = packets[start : start + PUBLISHES_IN_FLIGHT]
            link.sendall(b"".join(batch))
            for _ in batch:  # PUBACK: type, length, that many bytes
                head = reader.read(2)
                reader.read(head[1])
        link.sendall(b"\xe0\x00")


def timed(port: int, count: Callable[[], int], cpu_us: list[float]) -> float:
    """Messages per second from the first publish until `count` has seen them all.

    Adds this process's CPU time per message to `cpu_us`: on a busy machine the steadier
    figure.
    """
    messages = payloads()
    context = multiprocessing.get_context("fork")
    publisher = context.Process(target=publish, args=(port, messages), daemon=True)
    before = count()
    began, cpu_began_s = time.perf_counter(), time.process_time()
    publisher.start()
    while count() - before < MESSAGES:
        if time.perf_counter() - began > DEADLINE_S:
            raise TimeoutError(f"{count() - before} of {MESSAGES} messages came")
        time.sleep(0.002)
    took_s = time.perf_counter() - began
    cpu_us.append((time.process_time() - cpu_began_s) / MESSAGES * 1e6)
    publisher.join()
    return MESSAGES / took_s


def raw_subscriber(broker: RunningBroker, cpu_us: list[float]) -> float:
    """Messages per second that a bare subscriber receives and forgets."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    seen = [0]
    subscribed = [False]

    def on_message(*_: Any) -> None:
        seen[0] += 1

    def on_subscribe(*_: Any) -> None:
        subscribed[0] = True

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe(SPACE.filter(Kind.TELEMETRY), 1)
    while not subscribed[0]:
        time.sleep(0.01)
    try:
        return timed(broker.port, lambda: seen[0], cpu_us)
    finally:
        client.disconnect()
        client.loop_stop()


def real_ingress(broker: RunningBroker, cpu_us: list[float], lost: list[int]) -> float:
    """Messages per second that a whole hub stores in its SQLite."""
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as folder:
        url = f"mqtt://{broker.host}:{broker.port}"
        hub = Hub(settings.load(Path(folder), mqtt={"url": url}))
        hub.start()
        try:
            if not hub.ingress.wait_connected(20):
                raise TimeoutError("the hub did not reach the broker")
            with hub.database.transaction() as session:
                for device in range(DEVICES):
                    fleet.enrol(session, OPERATOR, f"line-{device}")
            rate = timed(broker.port, lambda: hub.counters.snapshot().get("stored", 0), cpu_us)
            lost.append(MESSAGES - _rows(hub))
            return rate
        finally:
            hub.stop()


def _rows(hub: Hub) -> int:
    with hub.database.engine.connect() as connection:
        statement = "SELECT count(*) FROM telemetry_window"
        return int(connection.exec_driver_sql(statement).scalar_one())


@dataclass
class Measured:
    """Rates per second and CPU microseconds per message of both sides; messages lost."""

    real: list[float]
    raw: list[float]
    real_cpu_us: list[float]
    raw_cpu_us: list[float]
    lost: list[int]


@functools.cache
def measured() -> Measured:
    """Both sides in turns on one broker."""
    real_cpu_us: list[float] = []
    raw_cpu_us: list[float] = []
    lost: list[int] = []
    with embedded() as broker:
        real, raw = in_turns(
            lambda: real_ingress(broker, real_cpu_us, lost),
            lambda: raw_subscriber(broker, raw_cpu_us),
            REPETITIONS,
        )
    return Measured(real, raw, real_cpu_us, raw_cpu_us, lost)


def vs_raw_subscriber() -> Row:
    found = measured()
    ratios = [a / b for a, b in zip(found.real, found.raw, strict=True)]
    return row(
        "ingest.vs_raw_subscriber",
        median_ratio(found.real, found.raw),
        ">= 0.5",
        interval_95=bootstrap_interval(ratios),
        ingress_messages_per_s=spread(found.real),
        raw_messages_per_s=spread(found.raw),
        ingress_cpu_us_per_message=spread(found.real_cpu_us),
        raw_cpu_us_per_message=spread(found.raw_cpu_us),
        messages=MESSAGES,
        message_bytes=len(payloads()[0][1]),
        broker="embedded",
    )


def lost_messages() -> Row:
    lost = measured().lost
    return row("ingest.lost_messages", float(sum(lost)), "== 0", unit="messages", turns=len(lost))


BENCHES = {"ingest.vs_raw_subscriber": vs_raw_subscriber, "ingest.lost_messages": lost_messages}
