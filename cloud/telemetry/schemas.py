"""API shapes of telemetry."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from cloud.telemetry.models import DeviceEvent, Sample, TelemetryWindow


class WindowView(BaseModel):
    """A window as the device sent it: `stats` holds its mergeable counters."""

    id: int
    device_id: str
    epoch: str
    sequence: int
    camera: str
    slot: str
    bundle_digest: str
    window_start: float
    window_end: float
    stats: dict[str, Any]

    @classmethod
    def of(cls, row: TelemetryWindow) -> WindowView:
        return cls(
            **row.model_dump(include=set(cls.model_fields)), stats=json.loads(row.payload)["stats"]
        )


class SummaryPoint(BaseModel):
    """One camera and build over [start, start + bucket_s)."""

    device_id: str
    camera: str
    slot: str
    bundle_digest: str
    start: float
    windows: int
    frames: int
    detections: int
    mean_confidence: float | None
    detections_per_frame: float | None


class Summary(BaseModel):
    bucket_s: float
    items: list[SummaryPoint]


class EventView(BaseModel):
    id: int
    device_id: str
    epoch: str
    sequence: int
    at: float
    kind: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: DeviceEvent) -> EventView:
        return cls(
            **row.model_dump(include=set(cls.model_fields)),
            detail=json.loads(row.payload)[row.kind],
        )


class SampleView(BaseModel):
    id: str
    device_id: str
    epoch: str
    sequence: int
    camera: str
    slot: str
    bundle_digest: str
    image_sha256: str
    image_url: str
    width: int
    height: int
    reason: str
    selection_probability: float
    uncertainty: float
    frame_id: str
    captured_at: float
    detections: list[dict[str, Any]]

    @classmethod
    def of(cls, row: Sample) -> SampleView:
        return cls(
            **row.model_dump(include=set(cls.model_fields)),
            image_url=f"/api/v1/samples/{row.id}/image",
            detections=json.loads(row.payload)["detections"],
        )


class IngestCounters(BaseModel):
    """What became of every message since the hub's start."""

    messages: int = 0
    stored: int = 0
    duplicates: int = 0
    refused: dict[str, int] = {}
    other: dict[str, int] = {}
    queue: int = 0


class StoredImage(BaseModel):
    sha256: str
    size_bytes: int


class LinkView(BaseModel):
    """Where devices find the broker."""

    mqtt_host: str
    mqtt_port: int
    root: str
    tls: bool
