"""A page of the outbox rots: what it held is counted as lost, and all else goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import Clock
from edge_agent.journal import Journal
from edge_agent.link.outbox import Outbox, OutboxError, Quota
from edge_agent.link.sender import Uploaded
from edge_agent.link.waiting import outbox_account
from protocol.topics import Kind
from tests.unit.edge_agent.link.rotten import TABLES, rot
from tests.unit.edge_agent.link.test_outbox import covered, event, put, sample
from tests.unit.edge_agent.link.test_sender import Rig

ROOMY = Quota(10**9, 10**9)
FEW = ("events", "telemetry", "random")


def filled(folder: Path, each: int = 20) -> Outbox:
    outbox = Outbox(folder, "d", ROOMY)
    for number in range(each):
        for what in FEW:
            put(outbox, what, number)
    outbox.counters()  # as the agent does, once a second
    return outbox


def aside(folder: Path) -> int:
    return len(list(folder.glob("*.broken-*")))


class Refusing:
    """A database whose disk refuses for now what begins like this."""

    def __init__(self, db: Any, *refused: str) -> None:
        self._db, self.refused = db, refused

    def execute(self, statement: str, *arguments: Any) -> Any:
        if statement.startswith(self.refused):
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(statement, *arguments)

    def close(self) -> None:
        self._db.close()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("opened", ["before", "after"])
def test_whoever_finds_it_begins_a_new_epoch_and_goes_on(
    tmp_path: Path, table: str, opened: str
) -> None:
    outbox = filled(tmp_path)
    epoch = outbox.epoch
    if opened == "after":
        outbox.close()
        rot(tmp_path, table)
        outbox = Outbox(tmp_path, "d", ROOMY)
    else:
        rot(tmp_path, table)
    uses: list[Callable[[], object]] = [
        lambda: outbox.after("events", 0, 100),
        lambda: outbox.acked("events"),
        lambda: outbox.was_given("events", 3),
        lambda: outbox.abandon("samples", 2, "the hub refused it"),
        lambda: outbox.acknowledge("samples", epoch, 3),
        lambda: outbox.told("line"),
    ]
    for use in uses:
        try:
            use()
        except OutboxError:
            assert outbox.epoch != epoch, "only what was renewed may refuse"
        outbox.counters()
    first = outbox.append_once("line", 1, "events", event)
    assert (first, outbox.epoch != epoch, aside(tmp_path)) == (1, True, 1)
    for what in FEW:
        put(outbox, what, 1)
    assert covered(outbox, "events") == [1, 2]
    assert len(list((tmp_path / "images").iterdir())) == 1, "lost samples need none"
    outbox.close()
    again = Outbox(tmp_path, "d", ROOMY)
    assert (again.epoch, covered(again, "events")) == (outbox.epoch, [1, 2])
    again.close()


def test_what_was_lost_is_counted(tmp_path: Path) -> None:
    outbox = filled(tmp_path)
    outbox.acknowledge("events", outbox.epoch, 5)
    rot(tmp_path, "entries")
    with pytest.raises(OutboxError, match="malformed"):
        outbox.after("events", 0, 1)
    counters = outbox.counters()
    assert counters["outbox_renewed"] == 1
    assert [counters[f"outbox_{s}_lost"] for s in ("events", "telemetry", "samples")] == [
        15,
        20,
        20,
    ]
    assert counters["outbox_events_written"] == 0
    outbox.close()


@pytest.mark.parametrize("table", ["entries", "streams", "outbox"])
def test_what_finds_it_is_kept_itself(tmp_path: Path, table: str) -> None:
    outbox = filled(tmp_path)
    rot(tmp_path, table)
    image = b"jpeg" * 100
    assert outbox.append_sample(sample(image, "random"), image, "random") == 1
    assert outbox.image(outbox.after("samples", 0, 1)[0].image_sha256 or "") == image
    rot(tmp_path, table)
    journal = Journal("d", outbox, Clock(), image_bytes_max=1000)
    journal.alert("disk_refused", "a page of it is rotten")
    assert (journal.counters["outbox_refused"], covered(outbox, "events")) == (0, [1])
    assert aside(tmp_path) == 1, "one is put aside at most"
    outbox.close()


def test_an_acknowledgement_that_cannot_be_kept_for_rot_is_not_asked_for_for_ever(
    tmp_path: Path,
) -> None:
    outbox = filled(tmp_path)
    epoch = outbox.epoch
    rot(tmp_path, "entries_by_worth")
    assert not outbox.acknowledge("events", epoch, 5)
    assert (outbox.epoch != epoch, aside(tmp_path)) == (True, 1)
    outbox.close()


def test_a_disk_that_lets_nothing_be_put_aside_leaves_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = filled(tmp_path)
    rot(tmp_path, "entries")

    def refuse(*_args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutboxError):
        outbox.after("events", 0, 1)
    put(outbox, "events", 1)
    assert (covered(outbox, "events"), aside(tmp_path)) == ([1], 0)
    assert len(list((tmp_path / "images").iterdir())) == 20, "the file on the disk names them"
    outbox.close()


def test_a_disk_that_does_not_answer_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    outbox: Any = filled(tmp_path)
    known, epoch = outbox.counters(), outbox.epoch
    outbox._file.db = refusing = Refusing(outbox._file.db, "SELECT")
    with pytest.raises(OutboxError, match="disk I/O"):
        outbox.after("events", 0, 1)
    with pytest.raises(OutboxError, match="disk I/O"):
        outbox.acked("events")
    assert outbox.counters() == {**known, "outbox_unreadable": 3}
    refusing.refused = ("nothing",)
    assert (len(outbox.after("events", 0, 100)), outbox.epoch, aside(tmp_path)) == (20, epoch, 0)
    outbox.close()


def test_the_sender_goes_on_with_the_new_epoch(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for number in range(5):
        put(rig.outbox, "events", number)
    rig.pump()
    epoch = rig.outbox.epoch
    rot(tmp_path, "entries")
    rig.ack("events", 2)
    rig.pump()
    rig.pump()
    assert rig.outbox.epoch != epoch
    rig.link.sent.clear()
    put(rig.outbox, "events", 9)
    rig.pump()
    assert rig.link.sequences() == [1]
    rig.ack("events", 1)
    assert covered(rig.outbox, "events") == []
    rig.outbox.close()


def test_rot_found_by_the_first_look_ends_nothing(tmp_path: Path) -> None:
    filled(tmp_path).close()
    rot(tmp_path, "entries")
    rig = Rig(tmp_path)
    for _ in range(3):
        rig.pump()
    put(rig.outbox, "events", 1)
    rig.pump()
    assert rig.link.sequences() == [1]
    rig.outbox.close()


def test_a_stream_that_cannot_be_read_holds_up_no_other_and_comes_later(tmp_path: Path) -> None:
    rig: Any = Rig(tmp_path)
    put(rig.outbox, "telemetry", 1)
    put(rig.outbox, "events", 1)
    after, fails = rig.outbox.after, ["telemetry"]

    def failing(stream: str, *rest: int) -> Any:
        if stream in fails:
            raise OutboxError("cannot read it now")
        return after(stream, *rest)

    rig.outbox.after = failing
    rig.pump()
    assert [topic.kind for topic, _ in rig.link.sent] == [Kind.EVENTS]
    fails.clear()
    rig.pump()
    assert [topic.kind for topic, _ in rig.link.sent] == [Kind.EVENTS, Kind.TELEMETRY]
    rig.outbox.close()


def test_an_image_refused_after_the_renewal_buries_no_other_entry(tmp_path: Path) -> None:
    rig: Any = Rig(tmp_path)
    rig.sender._submit = lambda _job: None
    put(rig.outbox, "random", 1)
    entry = rig.outbox.after("samples", 0, 1)[0]
    rig.pump()
    rot(tmp_path, "entries")
    put(rig.outbox, "random", 2)
    rig.pump()
    rig.sender.uploaded(Uploaded(1, entry.image_sha256, "no image", refused=True), rig.now)
    assert rig.outbox.after("samples", 0, 1)[0].image_sha256 is not None, "no tombstone"
    rig.outbox.close()


@pytest.mark.parametrize("table", TABLES)
def test_whoever_asks_what_waits_is_told_or_told_that_nothing_can_be_read(
    tmp_path: Path, table: str
) -> None:
    filled(tmp_path).close()
    rot(tmp_path, table)
    found = outbox_account(tmp_path)
    assert found is None or found["streams"]["events"]["written"] == 20
