"""Messages, schema version 1: one model for every JSON payload of the wire.

Payloads are JSON objects with a `schema_version`; unknown fields are kept, so that a
newer sender loses nothing at an older reader. Chunks and images are raw bytes and have
no model: their digest vouches for them.

What must arrive is `Sequenced`: it carries the stream's epoch (one per outbox) and a
sequence number, is kept on the device until the hub acknowledges it, and is stored by
the hub once.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from protocol.builds import Capabilities
from protocol.chunks import CHUNKS_MAX, BlobRef, Sha256
from protocol.desired import HarvestPolicy as HarvestPolicy
from protocol.desired import MaintenanceWindow as MaintenanceWindow
from protocol.desired import ShadowPolicy as ShadowPolicy
from protocol.desired import SlotDesired as SlotDesired
from protocol.errors import DecodeError, SchemaVersionError
from protocol.parts import SEQUENCE_MAX, Epoch, Part, Score, Sequence, UnixSeconds
from protocol.parts import DeviceId as DeviceId
from protocol.parts import Text as Text
from protocol.parts import Word as Word
from protocol.parts import as_text as as_text
from protocol.states import CameraState, ExecutionState
from protocol.topics import Kind
from protocol.windows import WindowStats

SCHEMA_VERSION = 1
MESSAGE_BYTES_MAX = 1024 * 1024
FLOORS_MAX = 256

Version = Annotated[int, Field(ge=1)]


class Message(Part):
    """A whole payload."""

    schema_version: Literal[1] = 1
    device_id: DeviceId


class Sequenced(Message):
    """A payload that must arrive: stored once by (device, stream, epoch, sequence)."""

    epoch: Epoch
    sequence: Sequence


# ---- hub -> device -------------------------------------------------------------------


class Desired(Message):
    """The whole desired state of a device; a higher generation replaces a lower one.

    Attributes:
        floors: the lowest version that may still serve, of models that no slot desires now and
            that the device may hold all the same; a slot says its own model's floor.
    """

    generation: int = Field(ge=1, le=SEQUENCE_MAX)
    slots: dict[Word, SlotDesired] = Field(default_factory=dict, max_length=64)
    floors: dict[Word, Version] = Field(default_factory=dict, max_length=FLOORS_MAX)
    harvest: HarvestPolicy = HarvestPolicy()
    telemetry_window_s: float = Field(default=60.0, ge=0.5, le=86_400)


class Ack(Part):
    """Highest sequence up to which everything of a stream is stored."""

    stream: Literal["telemetry", "events", "samples"]
    epoch: Epoch
    sequence: int = Field(ge=0, le=SEQUENCE_MAX)


class Acks(Message):
    acks: tuple[Ack, ...] = Field(max_length=64)


class Command(Message):
    """A one-off request; answered on the response topic, ignored after `expires_at`."""

    command_id: Word
    name: Literal["report", "snapshot"]
    arguments: dict[str, Any] = Field(default_factory=dict)
    expires_at: UnixSeconds


class TrustFile(Part):
    filename: Word
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class TrustIndex(Part):
    """Every trust file that exists, so that "not there" differs from "not yet heard"."""

    schema_version: Literal[1] = 1
    files: tuple[TrustFile, ...] = Field(max_length=4096)


# ---- device -> hub -------------------------------------------------------------------


class Presence(Message):
    """Online or offline. A session with a lower epoch than one already seen is ignored."""

    status: Literal["online", "offline"]
    boot_id: Word
    session_epoch: int = Field(ge=0, le=SEQUENCE_MAX)


class ExecutionReport(Part):
    """One step of an execution, as it happened.

    Attributes:
        by_hand: with an end, that a person at the device gave the attempt up.
    """

    rollout_id: Word | None = None
    attempt: int = Field(ge=1, le=SEQUENCE_MAX)
    slot: Word
    bundle_digest: Sha256
    state: ExecutionState
    reason: Text = ""
    figures: dict[str, float] = Field(default_factory=dict, max_length=64)
    by_hand: bool = False


class SlotReported(Part):
    """What a slot really runs, and the execution that it is in, if any.

    Attributes:
        engine: what the device compiled of the running build and runs in its place.
        veto_until: until when the line has said "not now".
        by_hand: somebody at the device went back to the running build; that is not undone by
            giving the same build out again.
    """

    running_digest: Sha256 | None = None
    model: Word | None = None
    version: int | None = None
    engine: Sha256 | None = None
    veto_until: UnixSeconds | None = None
    by_hand: bool = False
    execution: ExecutionReport | None = None


class CameraReported(Part):
    state: CameraState
    slot: Word
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    detail: Text = ""


class Health(Part):
    """Load and room on the device; what could not be read is None, never 0."""

    cpu_percent: float | None = None
    rss_bytes: int | None = None
    memory_available_bytes: int | None = None
    disk_free_bytes: int | None = None
    temperature_c: float | None = None
    gpu_percent: float | None = None
    gpu_memory_used_bytes: int | None = None
    gpu_temperature_c: float | None = None


class Reported(Message):
    boot_id: Word
    session_epoch: int = Field(ge=0, le=SEQUENCE_MAX)
    agent_version: Word
    desired_generation: int = Field(ge=0, le=SEQUENCE_MAX)
    slots: dict[Word, SlotReported] = Field(default_factory=dict, max_length=64)
    cameras: dict[Word, CameraReported] = Field(default_factory=dict, max_length=256)
    capabilities: Capabilities
    health: Health = Health()
    counters: dict[str, int] = Field(default_factory=dict, max_length=256)
    reported_at: UnixSeconds


class TelemetryReport(Sequenced):
    """Statistics of one camera and one build over [window_start, window_end)."""

    kind: Literal["window"] = "window"
    camera: Word
    slot: Word
    bundle_digest: Sha256
    window_start: UnixSeconds
    window_end: UnixSeconds
    stats: WindowStats


class Alert(Part):
    """Something that a person should know, by a name and in words.

    Attributes:
        slot, left, serves: where another bundle serves for good from here on, which slot, which
            digest it left, and which one serves; older agents say it in the text alone.
    """

    name: Word
    text: Text
    slot: Word | None = None
    left: Sha256 | None = None
    serves: Sha256 | None = None


class CameraEventReport(Part):
    camera: Word
    state: CameraState
    detail: Text = ""


class EventReport(Sequenced):
    """Something that happened; exactly one of execution, camera, alert is given."""

    kind: Literal["event"] = "event"
    at: UnixSeconds
    execution: ExecutionReport | None = None
    camera: CameraEventReport | None = None
    alert: Alert | None = None

    @model_validator(mode="after")
    def _one(self) -> EventReport:
        if sum(x is not None for x in (self.execution, self.camera, self.alert)) != 1:
            raise ValueError("an event is exactly one of execution, camera, alert")
        return self


class DetectedBox(Part):
    """A detection: box (x1, y1, x2, y2) in pixels of the image as it was sent."""

    class_id: int = Field(ge=0)
    confidence: Score
    box: tuple[float, float, float, float]


class SampleReport(Sequenced):
    """An image sent back: why, how likely that was, and what the build saw in it."""

    kind: Literal["sample"] = "sample"
    camera: Word
    slot: Word
    bundle_digest: Sha256
    image: BlobRef
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    reason: Literal["uncertain", "random", "snapshot", "disagreement"]
    selection_probability: float = Field(gt=0, le=1)
    uncertainty: Score
    frame_id: Word
    captured_at: UnixSeconds
    detections: tuple[DetectedBox, ...] = Field(max_length=300)


class Tombstone(Sequenced):
    """What eviction removed: [first_sequence, sequence] will never come."""

    kind: Literal["tombstone"] = "tombstone"
    first_sequence: Sequence
    evicted_bytes: int = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Tombstone:
        if self.first_sequence > self.sequence:
            raise ValueError("first_sequence is after sequence")
        return self


class BlobWant(Part):
    """Chunks of a blob that are missing, as half-open ranges of their indexes.

    Where the chunk list is not known yet (a manifest), chunks are of CHUNK_BYTES.
    """

    sha256: Sha256
    ranges: tuple[tuple[int, int], ...] = Field(min_length=1, max_length=4096)


class Wants(Message):
    """What a device asks for; at most CHUNKS_MAX chunks over all its blobs."""

    blobs: tuple[BlobWant, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _bounded(self) -> Wants:
        if sum(end - start for blob in self.blobs for start, end in blob.ranges) > CHUNKS_MAX:
            raise ValueError(f"more than {CHUNKS_MAX} chunks are wanted at once")
        return self


class CommandResponse(Message):
    command_id: Word
    ok: bool
    text: Text = ""


TelemetryMessage = Annotated[TelemetryReport | Tombstone, Field(discriminator="kind")]
EventMessage = Annotated[EventReport | Tombstone, Field(discriminator="kind")]
SampleMessage = Annotated[SampleReport | Tombstone, Field(discriminator="kind")]

PAYLOADS: dict[Kind, Any] = {
    Kind.DESIRED: Desired,
    Kind.REPORTED: Reported,
    Kind.PRESENCE: Presence,
    Kind.TELEMETRY: TelemetryMessage,
    Kind.EVENTS: EventMessage,
    Kind.SAMPLES: SampleMessage,
    Kind.ACKS: Acks,
    Kind.COMMANDS: Command,
    Kind.COMMAND_RESPONSES: CommandResponse,
    Kind.WANTS: Wants,
}
"""The model of each kind with a JSON payload. Trust files are TUF's own JSON, but for
the index, which is a TrustIndex; blob and sample chunks are raw bytes."""

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {
    payload: TypeAdapter(payload) for payload in (*PAYLOADS.values(), TrustIndex)
}


def encode(message: BaseModel) -> bytes:
    """The message's JSON bytes."""
    return message.model_dump_json(exclude_none=True).encode()


def decode(kind: Kind, payload: bytes) -> Any:
    """The message that `payload` is, of the model that PAYLOADS gives for `kind`.

    Raises:
        SchemaVersionError: it is of a version that is not spoken here.
        DecodeError: it is too large, no JSON, or does not fit the model.
    """
    return _decode(PAYLOADS[kind], kind.value, payload)


def decode_trust_index(payload: bytes) -> TrustIndex:
    """The trust index that `payload` is. Raises as `decode` does."""
    index: TrustIndex = _decode(TrustIndex, "trust index", payload)
    return index


def _decode(model: Any, name: str, payload: bytes) -> Any:
    if len(payload) > MESSAGE_BYTES_MAX:
        raise DecodeError(f"{name}: {len(payload)} bytes are over {MESSAGE_BYTES_MAX}")
    try:
        return _ADAPTERS[model].validate_json(payload)
    except ValidationError as error:
        found = _schema_version(payload)
        if found is not None and found != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{name}: schema version {found} is not spoken here, only {SCHEMA_VERSION}; "
                "upgrade this side or have the sender speak the older one"
            ) from error
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise DecodeError(f"{name}: {where}: {first['msg']}") from error


def _schema_version(payload: bytes) -> int | None:
    try:
        found = json.loads(payload)["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, int) else None
