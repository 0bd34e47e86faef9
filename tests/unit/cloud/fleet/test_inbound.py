"""What devices say of themselves, and which session may speak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cloud.database import Database
from cloud.fleet import inbound, service
from cloud.fleet.models import Device
from cloud.inbound import Received, Tally
from protocol.messages import (
    CommandResponse,
    Presence,
    Reported,
    SlotDesired,
    SlotReported,
    decode,
    encode,
)
from protocol.topics import Kind, Topic
from tests.unit.cloud.conftest import OPERATOR, Heard
from tests.unit.protocol.examples import CAPABILITIES, DIGEST

ONLINE, OFFLINE = "online", "offline"


@pytest.fixture
def enrolled(database: Database) -> Database:
    with database.transaction() as session:
        service.enrol(session, OPERATOR, "line-1")
    return database


def received(kind: Kind, message: Any, at: float = 5.0) -> Received:
    return Received(Topic(kind, device_id=message.device_id), encode(message), message, at)


def tell_presence(database: Database, status: Any, epoch: int, boot_id: str = "b") -> Tally:
    message = Presence(device_id="line-1", status=status, boot_id=boot_id, session_epoch=epoch)
    with database.transaction() as session:
        return inbound.store_presences(session, [received(Kind.PRESENCE, message)])


def device(database: Database) -> Device:
    with database.reading() as session:
        return service.get_device(session, OPERATOR, "line-1")


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ([(ONLINE, 1)], ONLINE),
        ([(ONLINE, 1), (OFFLINE, 1)], OFFLINE),
        ([(ONLINE, 2), (OFFLINE, 1)], ONLINE),  # the will of an older session, late
        ([(ONLINE, 1), (OFFLINE, 1), (ONLINE, 1)], OFFLINE),  # redelivered after the will
        ([(ONLINE, 1), (OFFLINE, 1), (ONLINE, 2)], ONLINE),
        ([(OFFLINE, 3), (ONLINE, 2)], OFFLINE),
        ([(ONLINE, 1), (ONLINE, 1)], ONLINE),
    ],
)
def test_the_newest_session_has_the_word(
    enrolled: Database, words: list[tuple[str, int]], last: str
) -> None:
    for status, epoch in words:
        tell_presence(enrolled, status, epoch)
    assert device(enrolled).presence == last


def test_a_device_that_begins_anew_is_heard_after_its_token_was_rotated(
    enrolled: Database,
) -> None:
    tell_presence(enrolled, ONLINE, 9)
    assert tell_presence(enrolled, ONLINE, 1) == {"refused.older_session": 1}
    with enrolled.transaction() as session:
        service.rotate_token(session, OPERATOR, "line-1")
    assert tell_presence(enrolled, ONLINE, 1, boot_id="new") == {"stored": 1}


def report(
    database: Database,
    epoch: int,
    digest: str | None,
    on_other: Sequence[inbound.OnReport] = (),
) -> Tally:
    message = Reported(
        device_id="line-1",
        boot_id="b",
        session_epoch=epoch,
        agent_version="1",
        desired_generation=1,
        slots={"factory": SlotReported(running_digest=digest)},
        capabilities=CAPABILITIES,
        reported_at=1.0,
    )
    with database.transaction() as session:
        batch = [received(Kind.REPORTED, message)]
        return inbound.store_reports(session, batch, on_other=on_other)


def test_reports_say_what_runs(enrolled: Database) -> None:
    report(enrolled, 2, DIGEST)
    with enrolled.reading() as session:
        assert service.running(session, OPERATOR) == {"line-1": {"factory": DIGEST}}
    assert device(enrolled).last_seen == 5.0
    assert report(enrolled, 1, "cd" * 32) == {"refused.older_session": 1}
    report(enrolled, 2, None)
    assert device(enrolled).running == {}


def test_only_who_runs_something_else_is_asked_what_it_left(enrolled: Database) -> None:
    wanted = SlotDesired(
        bundle_digest=DIGEST, manifest_bytes=500, model="factory", version=1, attempt=1
    )
    with enrolled.transaction() as session:
        service.set_slot(session, OPERATOR, "line-1", "factory", wanted)
    told: list[str] = []
    for digest in (DIGEST, None, "cd" * 32):
        report(enrolled, 2, digest, on_other=[lambda _, one, *__: told.append(one.id)])
        assert told == (["line-1"] if digest == "cd" * 32 else [])


def tell_generation(database: Database, seen: int) -> None:
    message = Reported(
        device_id="line-1",
        boot_id="b",
        session_epoch=1,
        agent_version="0",
        desired_generation=seen,
        capabilities=CAPABILITIES,
        reported_at=1.0,
    )
    with database.transaction() as session:
        inbound.store_reports(session, [received(Kind.REPORTED, message)])


def generations(heard: Heard) -> list[int]:
    """Of the desired states that were published."""
    return [decode(t.kind, p).generation for t, p in heard.messages if t.kind is Kind.DESIRED]


def test_a_restored_hub_goes_above_what_its_device_has_seen(
    enrolled: Database, heard: Heard
) -> None:
    tell_generation(enrolled, 7)
    assert device(enrolled).desired_generation == 8
    assert generations(heard) == [8]


def test_a_word_that_did_not_arrive_is_said_again(enrolled: Database, heard: Heard) -> None:
    for window_s in (10.0, 20.0):
        with enrolled.transaction() as session:
            service.change_desired(session, OPERATOR, "line-1", telemetry_window_s=window_s)
    latest = device(enrolled).desired_generation
    heard.messages.clear()
    tell_generation(enrolled, latest - 1)
    assert generations(heard) == [latest]
    tell_generation(enrolled, latest)
    assert generations(heard) == [latest], "it has arrived"
    assert device(enrolled).desired_generation == latest


def answer(database: Database, command_id: str, text: str) -> Tally:
    message = CommandResponse(device_id="line-1", command_id=command_id, ok=True, text=text)
    with database.transaction() as session:
        return inbound.store_responses(session, [received(Kind.COMMAND_RESPONSES, message)])


def test_the_first_answer_counts(enrolled: Database) -> None:
    with enrolled.transaction() as session:
        row = service.send_command(session, OPERATOR, "line-1", "report", {}, expires_s=60)
    assert answer(enrolled, row.id, "done") == {"stored": 1}
    assert answer(enrolled, row.id, "again") == {"duplicates": 1}
    assert answer(enrolled, "x", "who asked") == {"refused.unknown_command": 1}
    with enrolled.reading() as session:
        shown = service.get_command(session, OPERATOR, "line-1", row.id)
    assert (shown.text, service.command_state(shown)) == ("done", "answered")


def test_starts_are_counted_by_boot_ids(enrolled: Database) -> None:
    for epoch, boot_id in ((1, "a"), (1, "a"), (2, "b"), (1, "a"), (3, "c")):
        tell_presence(enrolled, ONLINE, epoch, boot_id)
    assert device(enrolled).boots == 3


def changes(database: Database) -> int:
    """How often the device has changed since this was last asked."""
    with database.transaction() as session:
        seen = service.changed(session, 9)
        service.forget(session, seen)
    return seen.get("line-1", 0)


def test_a_presence_that_is_known_changes_nothing(enrolled: Database) -> None:
    changes(enrolled)
    counted: list[int] = []
    for word in (ONLINE, ONLINE, OFFLINE, OFFLINE, ONLINE):
        tell_presence(enrolled, word, 1 if word == OFFLINE else len(counted) + 1)
        counted.append(changes(enrolled))
    assert counted == [1, 0, 0, 0, 0]
    tell_presence(enrolled, OFFLINE, 5)
    assert changes(enrolled) == 1


def tell_report(database: Database, at: float, **said: Any) -> None:
    message = Reported.model_validate(
        {
            "device_id": "line-1", "boot_id": "b", "session_epoch": 9, "agent_version": "1",
            "desired_generation": 1, "capabilities": CAPABILITIES, "reported_at": at, **said,
        }
    )  # fmt: skip
    with database.transaction() as session:
        assert inbound.store_reports(session, [received(Kind.REPORTED, message)])["stored"] == 1


def test_a_report_that_says_the_same_changes_nothing(enrolled: Database) -> None:
    running: dict[str, Any] = {"slots": {"factory": {"running_digest": DIGEST}}}
    execution = {"attempt": 1, "slot": "factory", "bundle_digest": DIGEST, "state": "SHADOWING"}
    asking = {"execution": {**execution, "figures": {"shadow_inconclusive": 1.0}}}
    told: list[tuple[dict[str, Any], int]] = [
        ({}, 1),
        ({"agent_version": "2", "counters": {"frames": 5}}, 0),
        (running, 1),
        (running, 0),
        ({"slots": {"factory": {"running_digest": DIGEST, "by_hand": True}}}, 1),
        (running, 1),
        ({"slots": {"factory": {"running_digest": DIGEST, **asking}}}, 1),
        ({"slots": {"factory": {"running_digest": DIGEST, **asking}}}, 0),
        ({"capabilities": CAPABILITIES.model_copy(update={"memory_bytes": 7})}, 1),
    ]
    tell_presence(enrolled, ONLINE, 9)
    changes(enrolled)
    counted = []
    for number, (said, _) in enumerate(told):
        tell_report(enrolled, float(number), **said)
        counted.append(changes(enrolled))
    assert counted == [count for _, count in told]


def test_any_word_of_one_that_was_away_is_a_change(enrolled: Database) -> None:
    tell_report(enrolled, 1.0)
    tell_presence(enrolled, OFFLINE, 9)
    changes(enrolled)
    tell_report(enrolled, 2.0)
    assert changes(enrolled) == 1
    tell_presence(enrolled, OFFLINE, 9)
    assert changes(enrolled) == 1


def test_running_another_build_than_is_desired_counts_each_time(enrolled: Database) -> None:
    wanted = SlotDesired(
        bundle_digest="cd" * 32, manifest_bytes=1, model="caps", version=1, attempt=1
    )
    with enrolled.transaction() as session:
        service.set_slot(session, OPERATOR, "line-1", "factory", wanted)
    tell_presence(enrolled, ONLINE, 9)
    counted = []
    for slot, digest in (
        [("factory", DIGEST)] * 2 + [("factory", "cd" * 32)] * 2 + [("other", DIGEST)] * 2
    ):
        changes(enrolled)
        tell_report(enrolled, 1.0, slots={slot: {"running_digest": digest}})
        counted.append(changes(enrolled))
    assert counted == [1, 1, 1, 0, 1, 0]
