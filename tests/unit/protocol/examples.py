"""One valid message of every kind, for tests."""

from __future__ import annotations

from pydantic import BaseModel

from protocol import chunks
from protocol.builds import BuildIdentity, Capabilities, Format, Precision, RuntimeCapability
from protocol.bundles import (
    GOLDEN_PATH,
    MODEL_PATH,
    BundleFile,
    Manifest,
    Preprocessing,
    Thresholds,
)
from protocol.messages import (
    Ack,
    Acks,
    Alert,
    BlobWant,
    CameraReported,
    Command,
    CommandResponse,
    Desired,
    DetectedBox,
    EventReport,
    ExecutionReport,
    Presence,
    Reported,
    SampleReport,
    SlotDesired,
    SlotReported,
    TelemetryReport,
    Tombstone,
    Wants,
)
from protocol.states import CameraState, ExecutionState
from protocol.topics import Kind
from protocol.windows import WindowStats

DIGEST = "ab" * 32
EPOCH = "cd" * 16

IDENTITY = BuildIdentity(
    format=Format.ONNX,
    precision=Precision.FP32,
    runtime="onnxruntime",
    runtime_precision=Precision.FP32,
    input_width=320,
    input_height=320,
    opset=20,
)
CAPABILITIES = Capabilities(
    architecture="x86_64",
    runtimes=(
        RuntimeCapability(
            runtime="onnxruntime",
            version="1.23.2",
            formats=(Format.ONNX,),
            precisions=(Precision.FP32,),
            opset_max=23,
        ),
    ),
)
MANIFEST = Manifest(
    model="factory",
    version=3,
    build=IDENTITY,
    head="end2end",
    class_names=("scratch", "dent"),
    thresholds=Thresholds(default=0.25, per_class={1: 0.4}),
    preprocessing=Preprocessing(),
    files=(
        BundleFile(path=MODEL_PATH, blob=chunks.describe(b"model bytes", 4)),
        BundleFile(path=GOLDEN_PATH, blob=chunks.describe(b"{}", 4)),
    ),
)
EXECUTION = ExecutionReport(
    rollout_id="r-1",
    attempt=1,
    slot="factory",
    bundle_digest=DIGEST,
    state=ExecutionState.PROVING,
)
STREAM = {"device_id": "line-1", "epoch": EPOCH, "sequence": 7}

MESSAGES: list[tuple[Kind, BaseModel]] = [
    (
        Kind.DESIRED,
        Desired(
            device_id="line-1",
            generation=4,
            slots={
                "factory": SlotDesired(
                    bundle_digest=DIGEST, manifest_bytes=900, model="factory", version=3
                )
            },
        ),
    ),
    (
        Kind.REPORTED,
        Reported(
            device_id="line-1",
            boot_id="b",
            session_epoch=2,
            agent_version="0.1.0",
            desired_generation=4,
            slots={"factory": SlotReported(running_digest=DIGEST, execution=EXECUTION)},
            cameras={"cam": CameraReported(state=CameraState.STREAMING, slot="factory")},
            capabilities=CAPABILITIES,
            reported_at=1.0,
        ),
    ),
    (
        Kind.PRESENCE,
        Presence(device_id="line-1", status="online", boot_id="b", session_epoch=2),
    ),
    (
        Kind.TELEMETRY,
        TelemetryReport(
            **STREAM,
            camera="cam",
            slot="factory",
            bundle_digest=DIGEST,
            window_start=1,
            window_end=2,
            stats=WindowStats(frames_captured=3),
        ),
    ),
    (Kind.TELEMETRY, Tombstone(**STREAM, first_sequence=3, evicted_bytes=10)),
    (Kind.EVENTS, EventReport(**STREAM, at=1.5, execution=EXECUTION)),
    (Kind.EVENTS, EventReport(**STREAM, at=1.5, alert=Alert(name="disk", text="is full"))),
    (
        Kind.EVENTS,
        EventReport(
            **STREAM,
            at=1.5,
            alert=Alert(name="left", text="t", slot="s", left="a" * 64, serves="b" * 64),
        ),
    ),
    (
        Kind.SAMPLES,
        SampleReport(
            **STREAM,
            camera="cam",
            slot="factory",
            bundle_digest=DIGEST,
            image=chunks.describe(b"jpeg"),
            width=320,
            height=240,
            reason="uncertain",
            selection_probability=0.5,
            uncertainty=0.9,
            frame_id="c-1",
            captured_at=1,
            detections=(DetectedBox(class_id=1, confidence=0.4, box=(1, 2, 3, 4)),),
        ),
    ),
    (
        Kind.ACKS,
        Acks(device_id="line-1", acks=(Ack(stream="events", epoch=EPOCH, sequence=7),)),
    ),
    (Kind.COMMANDS, Command(device_id="line-1", command_id="x", name="report", expires_at=9)),
    (Kind.COMMAND_RESPONSES, CommandResponse(device_id="line-1", command_id="x", ok=True)),
    (
        Kind.WANTS,
        Wants(device_id="line-1", blobs=(BlobWant(sha256=DIGEST, ranges=((0, 2), (4, 5))),)),
    ),
]
