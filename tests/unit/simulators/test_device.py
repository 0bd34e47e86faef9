"""A virtual device against a hub that is a few lines of test."""

from __future__ import annotations

import itertools
import random
from typing import Any

from protocol import bundles, chunks
from protocol.builds import BuildIdentity, Format, Precision
from protocol.messages import (
    Ack,
    Acks,
    Desired,
    EventReport,
    MaintenanceWindow,
    Presence,
    Reported,
    ShadowPolicy,
    SlotDesired,
    TelemetryReport,
    Wants,
    decode,
)
from protocol.states import ExecutionState
from protocol.topics import Kind
from simulators.device import Outgoing, VirtualDevice
from simulators.dials import Dials

MODEL = random.Random(5).randbytes(300_000)
GOLDEN = b'{"frames": []}'


def manifest() -> bundles.Manifest:
    identity = BuildIdentity(
        format=Format.ONNX,
        precision=Precision.FP32,
        runtime="onnxruntime",
        runtime_precision=Precision.FP32,
        input_width=160,
        input_height=160,
    )
    files = ((bundles.MODEL_PATH, MODEL), (bundles.GOLDEN_PATH, GOLDEN))
    return bundles.Manifest(
        model="factory",
        version=1,
        build=identity,
        head="end2end",
        class_names=("part",),
        thresholds=bundles.Thresholds(),
        preprocessing=bundles.Preprocessing(),
        files=tuple(bundles.BundleFile(path=p, blob=chunks.describe(d)) for p, d in files),
    )


RAW = bundles.canonical(manifest())
DIGEST = bundles.digest(manifest())
BLOBS = {chunks.sha256_hex(data): data for data in (RAW, MODEL, GOLDEN)}


def desired(generation: int = 1, digest: str = DIGEST, attempt: int = 1) -> Desired:
    slot = SlotDesired(
        bundle_digest=digest,
        manifest_bytes=len(RAW),
        model="factory",
        version=1,
        rollout_id="r",
        attempt=attempt,
        probation_s=1.0,
    )
    return Desired(
        device_id="d", generation=generation, slots={"factory": slot}, telemetry_window_s=2.0
    )


def device(**dials: float) -> VirtualDevice:
    made = VirtualDevice("d", ["factory"], Dials(**dials), random.Random(1))
    made.begin_session()
    return made


def answer(
    made: VirtualDevice, outgoing: list[Outgoing], now: float, *, spoil: bool = False
) -> None:
    """Send what is wanted, as the hub does."""
    for message in outgoing:
        if message.topic.kind is Kind.WANTS:
            wants: Wants = decode(Kind.WANTS, message.payload)
            for want in wants.blobs:
                for index in chunks.from_ranges(want.ranges):
                    at = index * chunks.CHUNK_BYTES
                    data = BLOBS[want.sha256][at : at + chunks.CHUNK_BYTES]
                    made.chunk(want.sha256, index, b"x" + data[1:] if spoil else data, now)


def live(made: VirtualDevice, start: float, seconds: float) -> list[Outgoing]:
    everything: list[Outgoing] = []
    for tick in range(round(seconds * 20)):
        now = start + tick * 0.05
        outgoing = made.tick(now)
        answer(made, outgoing, now)
        everything += outgoing
    return everything


def executions(outgoing: list[Outgoing]) -> list[ExecutionState]:
    found = {}
    for message in outgoing:
        if message.topic.kind is Kind.EVENTS:
            event: EventReport = decode(Kind.EVENTS, message.payload)
            assert event.execution is not None
            found[event.sequence] = event.execution.state
    return [found[n] for n in sorted(found)]


def test_an_update_walks_the_whole_way() -> None:
    made = device()
    made.connected(0.0)
    made.desired(desired(), 0.0)
    states = executions(live(made, 0.0, 5.0))
    names = "QUEUED DOWNLOADING DOWNLOADED VERIFIED PROVING PREPARED SWAPPING PROBATION"
    assert " ".join(state.value for state in states) == f"{names} COMMITTING SUCCEEDED"
    running = made.running["factory"]
    assert running is not None and running.bundle_digest == DIGEST


def test_spoilt_chunks_are_asked_for_again() -> None:
    made = device()
    made.connected(0.0)
    made.desired(desired(), 0.0)
    for tick in range(40):
        answer(made, made.tick(tick * 0.05), tick * 0.05, spoil=True)
    assert made.running["factory"] is None and made.wanted_blobs()
    live(made, 2.0, 8.0)
    assert made.running["factory"] is not None


def test_a_device_dialled_to_fail_keeps_what_it_had() -> None:
    made = device(failing=1.0)
    made.connected(0.0)
    made.desired(desired(), 0.0)
    assert executions(live(made, 0.0, 5.0))[-1] is ExecutionState.FAILED
    assert made.running["factory"] is None
    made.desired(desired(2, attempt=2), 6.0)
    assert executions(live(made, 6.0, 5.0)).count(ExecutionState.FAILED) == 1
    assert made.executed == [(DIGEST, ExecutionState.FAILED)] * 2


def test_an_older_generation_and_the_same_attempt_change_nothing() -> None:
    made = device()
    made.desired(desired(5), 0.0)
    live(made, 0.0, 5.0)
    made.desired(desired(4, digest="f" * 64), 6.0)
    made.desired(desired(6), 6.0)
    live(made, 6.0, 2.0)
    assert made.executed == [(DIGEST, ExecutionState.SUCCEEDED)]


def test_a_newer_build_supersedes_one_on_its_way() -> None:
    made = device(slow=100.0)
    made.desired(desired(1, digest="f" * 64), 0.0)
    made.tick(0.05)
    made.desired(desired(2), 0.1)
    assert made.executed == [("f" * 64, ExecutionState.SUPERSEDED)]


def test_a_newer_build_that_comes_after_the_exchange_waits_for_its_end() -> None:
    made = device()
    made.desired(change(1, probation_s=60.0), 0.0)
    assert executions(live(made, 0.0, 5.0))[-1] is ExecutionState.PROBATION
    made.desired(desired(2, digest="f" * 64), 6.0)
    made.desired(desired(3, attempt=2), 6.0)
    assert not made.executed
    states = executions(live(made, 59.0, 10.0))
    assert " ".join(s.value for s in states[-4:]) == "COMMITTING SUCCEEDED QUEUED SUCCEEDED"
    assert made.executed == [(DIGEST, ExecutionState.SUCCEEDED)] * 2


def test_messages_are_kept_until_acknowledged_and_sent_again() -> None:
    made = device()
    made.desired(desired(), 0.0)
    outgoing = live(made, 0.0, 9.0)
    windows = [
        decode(Kind.TELEMETRY, o.payload) for o in outgoing if o.topic.kind is Kind.TELEMETRY
    ]
    assert all(isinstance(w, TelemetryReport) for w in windows) and len(windows) >= 2
    waiting = made.outbox.waiting
    assert waiting == sum(made.outbox.issued().values())
    made.acks(Acks(device_id="d", acks=(Ack(stream="events", epoch="0" * 32, sequence=99),)))
    assert made.outbox.waiting == waiting
    events = made.outbox.issued()["events"]
    made.acks(
        Acks(device_id="d", acks=(Ack(stream="events", epoch=made.outbox.epoch, sequence=events),))
    )
    assert made.outbox.waiting == waiting - events
    again = [o for o in made.connected(100.0) if o.topic.kind is Kind.TELEMETRY]
    assert len(again) == made.outbox.waiting


def test_what_it_says_of_itself_is_what_the_protocol_takes() -> None:
    made = device()
    outgoing = made.connected(0.0)
    presence: Presence = decode(Kind.PRESENCE, outgoing[0].payload)
    assert (presence.status, presence.session_epoch) == ("online", 1)
    (reported,) = [o for o in outgoing if o.topic.kind is Kind.REPORTED]
    said: Reported = decode(Kind.REPORTED, reported.payload)
    assert said.slots["factory"].running_digest is None
    assert reported.retained and outgoing[0].retained


SHADOW = ShadowPolicy()
WINDOW = MaintenanceWindow(cron="0 2 * * *", duration_s=60)


def change(generation: int, **policies: Any) -> Desired:
    asked = desired(generation)
    slot = asked.slots["factory"].model_copy(update=policies)
    return asked.model_copy(update={"slots": {"factory": slot}})


def test_a_held_device_waits_prepared_for_the_word() -> None:
    made = device()
    made.desired(change(1, hold=True, window=WINDOW), 0.0)
    assert executions(live(made, 0.0, 8.0))[-2:] == [
        ExecutionState.WAITING_WINDOW,
        ExecutionState.PREPARED,
    ]
    made.desired(change(2, window=WINDOW), 9.0)
    live(made, 9.0, 5.0)
    assert made.executed == [(DIGEST, ExecutionState.SUCCEEDED)]


def test_a_shadow_without_a_verdict_asks_until_it_is_accepted() -> None:
    made = device(unsure=1.0)
    made.running["factory"] = desired(digest="f" * 64).slots["factory"]
    made.desired(change(1, shadow=SHADOW), 0.0)
    outgoing = live(made, 0.0, 8.0)
    assert executions(outgoing)[-1] is ExecutionState.SHADOWING
    last = [o for o in outgoing if o.topic.kind is Kind.REPORTED][-1]
    said: Reported = decode(Kind.REPORTED, last.payload)
    told = said.slots["factory"].execution
    assert told is not None and told.figures == {"shadow_inconclusive": 1.0}
    made.desired(change(2, shadow=SHADOW.model_copy(update={"accepted": True})), 9.0)
    live(made, 9.0, 5.0)
    assert made.executed == [(DIGEST, ExecutionState.SUCCEEDED)]


def test_what_is_not_desired_any_more_is_given_up() -> None:
    made = device()
    made.desired(change(1, hold=True), 0.0)
    live(made, 0.0, 5.0)
    made.desired(Desired(device_id="d", generation=2), 6.0)
    assert made.executed == [(DIGEST, ExecutionState.CANCELED)]


def acknowledge(made: VirtualDevice) -> None:
    issued = made.outbox.issued()
    acks = tuple(
        Ack.model_validate({"stream": name, "epoch": made.outbox.epoch, "sequence": last})
        for name, last in issued.items()
        if last
    )
    if acks:
        made.acks(Acks(device_id="d", acks=acks))


def test_a_device_that_is_looked_at_only_when_it_is_due_walks_the_whole_way() -> None:
    made = device()
    made.connected(0.0)
    made.desired(desired(), 0.0)
    now, looks = 0.0, 0
    states = []
    while now < 20.0:
        due = made.due_at()
        if due > now:  # until then there is nothing to say
            assert made.tick((now + due) / 2) == []
        now, looks = max(now, due), looks + 1
        outgoing = made.tick(now)
        states += executions(outgoing)
        answer(made, outgoing, now)
        acknowledge(made)
    assert states[-1] is ExecutionState.SUCCEEDED
    assert looks < 60


def test_changes_close_together_share_a_report_and_a_window_is_of_one_build() -> None:
    made = device()
    made.connected(0.0)
    made.desired(desired(), 0.0)
    outgoing = live(made, 0.0, 5.0)
    reports = [o for o in outgoing if o.topic.kind is Kind.REPORTED]
    assert 2 <= len(reports) < len(executions(outgoing))
    other = desired(2, attempt=2)
    made.desired(other, 5.0)
    windows = [
        decode(Kind.TELEMETRY, o.payload)
        for o in outgoing + live(made, 5.0, 5.0)
        if o.topic.kind is Kind.TELEMETRY
    ]
    spans = sorted((w.window_start, w.window_end) for w in windows)
    assert all(a[1] <= b[0] + 1e-9 for a, b in itertools.pairwise(spans))
