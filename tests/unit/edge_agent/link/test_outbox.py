"""The outbox loses nothing that no tombstone names, whatever happens in which order."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.link.outbox import Outbox, OutboxError, Quota
from edge_agent.link.outbox_file import MEMORY
from protocol.chunks import describe
from protocol.messages import Alert, EventReport, SampleReport, Sequenced, TelemetryReport, decode
from protocol.topics import Kind
from protocol.windows import WindowStats

DIGEST = "a" * 64
ROOMY = Quota(10**9, 10**9)
KINDS = {"telemetry": Kind.TELEMETRY, "events": Kind.EVENTS, "samples": Kind.SAMPLES}


def event(epoch: str, sequence: int) -> Sequenced:
    return EventReport(
        device_id="d", epoch=epoch, sequence=sequence, at=1, alert=Alert(name="n", text="t")
    )


def window(epoch: str, sequence: int) -> Sequenced:
    return TelemetryReport(
        device_id="d",
        epoch=epoch,
        sequence=sequence,
        camera="c",
        slot="s",
        bundle_digest=DIGEST,
        window_start=0,
        window_end=1,
        stats=WindowStats(),
    )


def sample(image: bytes, reason: Any) -> Callable[[str, int], Sequenced]:
    return lambda epoch, sequence: SampleReport(
        device_id="d",
        epoch=epoch,
        sequence=sequence,
        camera="c",
        slot="s",
        bundle_digest=DIGEST,
        image=describe(image),
        width=4,
        height=4,
        reason=reason,
        selection_probability=0.5,
        uncertainty=0.5,
        frame_id="f",
        captured_at=1,
        detections=(),
    )


def put(outbox: Outbox, what: str, number: int) -> None:
    if what in ("uncertain", "random"):
        image = bytes([number % 256]) * 200
        outbox.append_sample(sample(image, what), image, what)
    else:
        outbox.append(what, {"telemetry": window, "events": event}[what])


def covered(outbox: Outbox, stream: str) -> list[int]:
    """Every sequence that the stream's entries carry or bury, in order."""
    found: list[int] = []
    for entry in outbox.after(stream, 0, 10_000):
        message = decode(KINDS[stream], entry.payload)
        assert message.sequence == entry.sequence
        found += range(getattr(message, "first_sequence", message.sequence), message.sequence + 1)
    return found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["telemetry", "events", "uncertain", "random"])),
        st.tuples(st.just("ack"), st.tuples(st.sampled_from(sorted(KINDS)), st.integers(0, 12))),
        st.tuples(st.just("abandon"), st.integers(1, 12)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, records=st.integers(600, 6000), images=st.integers(100, 1500))
def test_every_sequence_is_held_or_buried_until_acknowledged(
    steps: list[tuple[str, Any]], records: int, images: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outbox = Outbox(folder, "d", Quota(records, images))
        epoch, written = outbox.epoch, dict.fromkeys(KINDS, 0)
        for number, (verb, argument) in enumerate(steps):
            if verb == "put":
                put(outbox, str(argument), number)
                stream = "samples" if argument in ("uncertain", "random") else str(argument)
                written[stream] += 1
            elif verb == "ack":
                outbox.acknowledge(argument[0], epoch, argument[1])
            elif verb == "abandon":
                outbox.abandon("samples", int(str(argument)), "tried")
            else:
                outbox.close()
                outbox = Outbox(folder, "d", Quota(records, images))
                assert outbox.epoch == epoch
            for stream, count in written.items():
                held, acked = covered(outbox, stream), outbox.acked(stream)
                assert len(held) == len(set(held)), "a sequence appears twice"
                assert set(range(acked + 1, count + 1)) <= set(held), "a sequence is missing"
            counters = outbox.counters()
            assert counters["outbox_images_bytes"] <= images
        outbox.close()


def test_images_live_as_long_as_their_entries(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", ROOMY)
    image = b"jpeg" * 50
    for _ in range(2):
        outbox.append_sample(sample(image, "random"), image, "random")
    sha256 = describe(image).sha256
    outbox.acknowledge("samples", outbox.epoch, 1)
    assert outbox.image(sha256) == image, "the second entry still needs it"
    outbox.acknowledge("samples", outbox.epoch, 2)
    assert list((tmp_path / "images").iterdir()) == []
    with pytest.raises(OutboxError, match="cannot read the image"):
        outbox.image(sha256)


def test_a_full_disk_keeps_nobody_from_seeing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Outbox(tmp_path, "d", ROOMY)
    image = b"jpeg"
    kept.append_sample(sample(image, "random"), image, "random")
    kept.close()
    connect: Any = sqlite3.connect

    def full(path: Any, **options: Any) -> Any:
        if path != MEMORY:
            raise sqlite3.OperationalError("database or disk is full")
        return connect(path, **options)

    monkeypatch.setattr(sqlite3, "connect", full)
    in_memory = Outbox(tmp_path, "d", ROOMY)
    assert in_memory.epoch != kept.epoch
    assert in_memory.after("samples", 0, 10) == []
    in_memory.close()
    monkeypatch.setattr(sqlite3, "connect", connect)
    again = Outbox(tmp_path, "d", ROOMY)
    assert again.epoch == kept.epoch
    assert again.image(again.after("samples", 0, 10)[0].image_sha256 or "") == image


def test_a_stray_image_of_a_kill_is_removed_at_the_start(tmp_path: Path) -> None:
    Outbox(tmp_path, "d", ROOMY).close()
    (tmp_path / "images" / DIGEST).write_bytes(b"half")
    Outbox(tmp_path, "d", ROOMY).close()
    assert list((tmp_path / "images").iterdir()) == []


def test_telemetry_goes_first_and_events_last(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", Quota(6000, 10**9))
    for _ in range(3):
        outbox.append("events", event)
    for _ in range(30):
        outbox.append("telemetry", window)
    counters = outbox.counters()
    assert counters["outbox_telemetry_evicted"] > 0
    assert counters["outbox_events_evicted"] == 0
    assert counters["outbox_records_bytes"] <= 6000
    oldest = decode(Kind.TELEMETRY, outbox.after("telemetry", 0, 1)[0].payload)
    assert oldest.kind == "tombstone" and oldest.first_sequence == 1


def test_random_samples_outlive_uncertain_ones(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", Quota(10**9, 1000))
    for number, reason in enumerate(["random", "uncertain"] * 4):
        put(outbox, reason, number)
    entries = outbox.after("samples", 0, 100)
    kept = [decode(Kind.SAMPLES, e.payload) for e in entries if e.image_sha256]
    assert [m.reason for m in kept].count("random") == 4


def test_acknowledgements_of_another_epoch_or_the_future_are_ignored(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", ROOMY)
    outbox.append("events", event)
    assert not outbox.acknowledge("events", "0" * 32, 1)
    assert not outbox.acknowledge("events", outbox.epoch, 2)
    assert outbox.acknowledge("events", outbox.epoch, 1)
    assert not outbox.acknowledge("events", outbox.epoch, 1)


def test_a_broken_database_is_put_aside_and_a_new_epoch_begins(tmp_path: Path) -> None:
    first = Outbox(tmp_path, "d", ROOMY)
    first.append("events", event)
    first.close()
    (tmp_path / "outbox.sqlite3").write_bytes(b"this is no database" * 100)
    second = Outbox(tmp_path, "d", ROOMY)
    assert second.epoch != first.epoch
    assert second.append("events", event) == 1
    assert len(list(tmp_path.glob("*.broken-*"))) == 1


def test_a_full_disk_refuses_the_entry_and_changes_nothing(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", ROOMY)
    outbox.append("events", event)
    pages = outbox._file.db.execute("PRAGMA page_count").fetchone()[0]
    outbox._file.db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutboxError, match="make room"):
        for _ in range(200):
            outbox.append("events", event)
    written = outbox.counters()["outbox_events_written"]
    assert covered(outbox, "events") == list(range(1, written + 1))
    outbox._file.db.execute("PRAGMA max_page_count = 100000")
    assert outbox.append("events", event) == written + 1


def test_an_unreadable_place_is_no_reason_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Outbox(tmp_path, "d", ROOMY).close()

    def refuse(*_args: object, **_options: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(OutboxError, match="permissions"):
        Outbox(tmp_path, "d", ROOMY)
    assert (tmp_path / "outbox.sqlite3").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(b"a file is in the way")
    with pytest.raises(OutboxError, match="images"):
        Outbox(tmp_path, "d", ROOMY)
