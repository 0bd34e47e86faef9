"""Streams of one device, as the ingress hands them to the handlers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloud.blobs.store import BlobStore
from cloud.database import Database
from cloud.fleet import service as fleet
from cloud.inbound import Received
from cloud.telemetry.samples import SampleStore
from cloud.telemetry.spool import SampleSpool
from protocol.chunks import describe
from protocol.messages import (
    Acks,
    EventReport,
    SampleReport,
    TelemetryReport,
    Tombstone,
    encode,
)
from protocol.topics import Kind, Topic
from protocol.windows import WindowStats
from tests.unit.cloud.conftest import OPERATOR, Heard
from tests.unit.protocol.examples import DIGEST, EPOCH

DEVICE = "line-1"


def jpeg(shade: int = 100, size: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def received(kind: Kind, message: Any) -> Received:
    return Received(Topic(kind, device_id=message.device_id), encode(message), message, 5.0)


def stream(sequence: int, epoch: str = EPOCH) -> dict[str, Any]:
    return {"device_id": DEVICE, "epoch": epoch, "sequence": sequence}


def window(sequence: int, epoch: str = EPOCH, **more: Any) -> Received:
    values = {
        "camera": "cam",
        "slot": "factory",
        "bundle_digest": DIGEST,
        "window_start": 10.0 * sequence,
        "window_end": 10.0 * sequence + 10,
        "stats": WindowStats(frames_inferred=5),
        **more,
    }
    return received(Kind.TELEMETRY, TelemetryReport(**stream(sequence, epoch), **values))


def event(sequence: int, **what: Any) -> Received:
    return received(Kind.EVENTS, EventReport(**stream(sequence), at=float(sequence), **what))


def tombstone(kind: Kind, first: int, last: int) -> Received:
    return received(kind, Tombstone(**stream(last), first_sequence=first, evicted_bytes=1))


def sample(sequence: int, image: bytes, chunk_bytes: int = 128 * 1024) -> Received:
    report = SampleReport(
        **stream(sequence),
        camera="cam",
        slot="factory",
        bundle_digest=DIGEST,
        image=describe(image, chunk_bytes),
        width=32,
        height=32,
        reason="uncertain",
        selection_probability=0.5,
        uncertainty=0.9,
        frame_id=f"c-{sequence}",
        captured_at=float(sequence),
        detections=(),
    )
    return received(Kind.SAMPLES, report)


def acked(heard: Heard) -> dict[str, int]:
    """stream -> the sequence that was acknowledged last."""
    found: dict[str, int] = {}
    for topic, payload in heard.messages:
        if topic.kind is Kind.ACKS:
            for ack in Acks.model_validate_json(payload).acks:
                found[ack.stream] = ack.sequence
    return found


@dataclass
class Place:
    """A database with one device, and what the hub tells it."""

    database: Database
    heard: Heard
    samples: SampleStore


@pytest.fixture
def place(database: Database, heard: Heard, tmp_path: Path) -> Iterator[Place]:
    with database.transaction() as session:
        fleet.enrol(session, OPERATOR, DEVICE)
    store = SampleStore(
        blobs=BlobStore(tmp_path / "blobs", blob_bytes_max=1_000_000),
        spool=SampleSpool(bytes_max=100_000, images_max=4),
        ranges_max=16,
        image_bytes_max=100_000,
        image_pixels_max=1_000_000,
    )
    yield Place(database, heard, store)
