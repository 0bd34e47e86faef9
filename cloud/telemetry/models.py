"""Tables of telemetry. (device, stream epoch, sequence) is unique: stored once."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel


class StreamCursor(SQLModel, table=True):
    """What of one stream has been accounted for; see `sequences.Cursor`."""

    __tablename__ = "stream_cursor"

    device_id: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    epoch: str = Field(primary_key=True)
    contiguous: int = 0
    ahead: list[list[int]] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    updated_at: float


class TelemetryWindow(SQLModel, table=True):
    """Statistics of one camera and one build over a window.

    The sums that series are made of stand in columns; `payload` is the message's JSON as it
    came.
    """

    __tablename__ = "telemetry_window"
    __table_args__ = (
        UniqueConstraint("device_id", "epoch", "sequence"),
        Index("ix_telemetry_window_camera_start", "device_id", "camera", "window_start"),
    )

    id: int | None = Field(default=None, primary_key=True)
    device_id: str
    epoch: str
    sequence: int
    camera: str
    slot: str
    bundle_digest: str
    window_start: float = Field(index=True)
    window_end: float
    frames_inferred: int
    served: int
    served_confidence_sum: float
    payload: str


class DeviceEvent(SQLModel, table=True):
    """Something that happened on a device; `kind` is execution, camera or alert."""

    __tablename__ = "device_event"
    __table_args__ = (UniqueConstraint("device_id", "epoch", "sequence"),)

    id: int | None = Field(default=None, primary_key=True)
    device_id: str
    epoch: str
    sequence: int
    at: float = Field(index=True)
    kind: str = Field(index=True)
    payload: str


class Sample(SQLModel, table=True):
    """An image that came back. `id` is device, epoch and sequence joined by dots."""

    __tablename__ = "sample"
    __table_args__ = (UniqueConstraint("device_id", "epoch", "sequence"),)

    id: str = Field(primary_key=True)
    device_id: str
    epoch: str
    sequence: int
    camera: str = Field(index=True)
    slot: str
    bundle_digest: str
    image_sha256: str = Field(index=True)
    width: int
    height: int
    reason: str
    selection_probability: float
    uncertainty: float
    frame_id: str
    captured_at: float = Field(index=True)
    payload: str
