"""What a bystander at an external broker sees: every documented topic, and nothing else.

A real Mosquitto, a real hub and a real agent; mosquitto_sub writes down the whole traffic.
Each JSON payload must fit the generated schema, each binary one its digest.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.settings import load
from protocol.bundles import read_manifest
from protocol.chunks import CHUNK_BYTES, BlobRef, sha256_hex, verify_chunk
from protocol.errors import DecodeError
from protocol.messages import HarvestPolicy, SampleReport, decode, decode_trust_index
from protocol.schemas import TRUST_INDEX, json_schemas
from protocol.topics import TRUST_INDEX_FILENAME, Kind, Topic, TopicSpace
from tests.conftest import lacking
from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.edge_agent.device import DEVICE_ID, Device
from tests.integration.rollouts.bench import ADMIN, Bench

pytestmark = pytest.mark.integration
SPACE = TopicSpace()


@dataclass(frozen=True)
class Heard:
    topic: Topic
    payload: bytes


@contextmanager
def bystander(broker: RunningBroker, log: Path) -> Iterator[None]:
    """mosquitto_sub writing "topic hex" lines of everything under the root."""
    binary = shutil.which("mosquitto_sub")
    if binary is None:
        lacking("mosquitto_sub is not installed (apt-get install mosquitto-clients)")
    command = [binary, "-h", broker.host, "-p", str(broker.port), "-V", "5", "-q", "1"]
    command += ["-t", f"{SPACE.root}/#", "-F", "%t %x"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output) as process:
        try:
            yield
        finally:
            process.terminate()


def heard(log: Path) -> list[Heard]:
    """Whole lines of the log; text that is no topic of ours raises."""
    lines = log.read_text().splitlines(keepends=True)
    words = [line.rstrip("\n").partition(" ") for line in lines if line.endswith("\n")]
    return [Heard(SPACE.parse(topic), bytes.fromhex(payload)) for topic, _, payload in words]


def of_kind(messages: list[Heard], kind: Kind) -> list[Heard]:
    return [m for m in messages if m.topic.kind is kind]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Heard], str]]:
    """One build installed, some frames sampled, a command answered, all overheard."""
    folder = tmp_path_factory.mktemp("topics")
    with mosquitto(folder) as broker, bystander(broker, folder / "heard.txt"):
        hub = Hub(load(folder / "hub", mqtt={"url": f"mqtt://{broker.host}:{broker.port}"}))
        hub.start()
        # No hub listens at the device's HTTP address, so images go by MQTT.
        device = Device(folder / "device", broker)
        try:
            bench = Bench(hub, folder)
            with hub.database.transaction() as session:
                fleet.change_desired(
                    session,
                    ADMIN,
                    DEVICE_ID,
                    harvest=HarvestPolicy(random_share=1.0, images_per_hour=36_000),
                    telemetry_window_s=0.5,
                )
            device.start()
            digest = bench.publish(1)
            _, execution = bench.roll_out(1)
            assert execution.state == "SUCCEEDED", device.log()
            with hub.database.transaction() as session:
                fleet.send_command(session, ADMIN, DEVICE_ID, "report", {}, expires_s=30)
            bench.wait(lambda: {m.topic.kind for m in heard(folder / "heard.txt")} == set(Kind))
        finally:
            device.stop()
            hub.stop()
        yield heard(folder / "heard.txt"), digest


def test_every_documented_topic_is_seen(traffic: tuple[list[Heard], str]) -> None:
    messages, _ = traffic
    assert {m.topic.kind for m in messages} == set(Kind)


def test_every_json_payload_fits_its_generated_schema(traffic: tuple[list[Heard], str]) -> None:
    messages, _ = traffic
    checks = {name: Draft202012Validator(schema) for name, schema in json_schemas().items()}
    checked = 0
    for message in messages:
        name: str | None = message.topic.kind.value
        if message.topic.kind is Kind.TRUST:
            name = TRUST_INDEX if message.topic.filename == TRUST_INDEX_FILENAME else None
        if name in checks:
            checks[name].validate(json.loads(message.payload))
            checked += 1
    assert checked > len(checks)


def test_every_blob_chunk_fits_the_digest_that_asked_for_it(
    traffic: tuple[list[Heard], str],
) -> None:
    messages, digest = traffic
    chunks = of_kind(messages, Kind.BLOB_CHUNK)
    manifest = read_manifest(_whole(chunks, digest), digest)
    described = {f.blob.sha256: f.blob for f in manifest.files}
    for chunk in chunks:
        if chunk.topic.sha256 != digest:
            verify_chunk(described[chunk.topic.sha256], chunk.topic.index, chunk.payload)
    assert {c.topic.sha256 for c in chunks} == {digest, *described}


def test_every_image_chunk_fits_the_sample_that_names_it(
    traffic: tuple[list[Heard], str],
) -> None:
    messages, _ = traffic
    reports = [decode(Kind.SAMPLES, m.payload) for m in of_kind(messages, Kind.SAMPLES)]
    images: dict[str, BlobRef] = {
        r.image.sha256: r.image for r in reports if isinstance(r, SampleReport)
    }
    chunks = [m for m in of_kind(messages, Kind.SAMPLE_CHUNK) if m.topic.sha256 in images]
    assert chunks
    for chunk in chunks:
        verify_chunk(images[chunk.topic.sha256], chunk.topic.index, chunk.payload)


def test_the_trust_index_names_every_trust_file_by_its_digest(
    traffic: tuple[list[Heard], str],
) -> None:
    messages, _ = traffic
    latest = {m.topic.filename: m.payload for m in of_kind(messages, Kind.TRUST)}
    index = decode_trust_index(latest.pop(TRUST_INDEX_FILENAME))
    named = {f.filename: (f.sha256, f.size_bytes) for f in index.files}
    # An empty payload takes a retained file away.
    there = {name: data for name, data in latest.items() if data}
    assert named == {name: (sha256_hex(data), len(data)) for name, data in there.items()}
    assert {"1.root.json", "timestamp.json"} <= set(named)


def test_what_is_raw_is_no_message(traffic: tuple[list[Heard], str]) -> None:
    messages, _ = traffic
    with pytest.raises(DecodeError):
        decode(Kind.REPORTED, of_kind(messages, Kind.BLOB_CHUNK)[-1].payload)


def _whole(chunks: list[Heard], sha256: str) -> bytes:
    pieces = {c.topic.index: c.payload for c in chunks if c.topic.sha256 == sha256}
    assert all(len(piece) <= CHUNK_BYTES for piece in pieces.values())
    return b"".join(piece for _, piece in sorted(pieces.items()))
