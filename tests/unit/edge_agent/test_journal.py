"""What happened is kept or refused; a refusal is counted, and never ends anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.clock import Clock
from edge_agent.journal import CameraChanged, Journal
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.update.turned import Turned
from protocol.messages import EventReport, ExecutionReport, decode
from protocol.states import CameraState, ExecutionState
from protocol.topics import Kind


def report(state: ExecutionState) -> ExecutionReport:
    return ExecutionReport(
        rollout_id="r", attempt=1, slot="line", bundle_digest="a" * 64, state=state
    )


def states(outbox: Outbox) -> list[ExecutionState]:
    found = []
    for entry in outbox.after("events", 0, 100):
        message = decode(Kind.EVENTS, entry.payload)
        assert isinstance(message, EventReport) and message.execution is not None
        found.append(message.execution.state)
    return found


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path, "d", Quota(10**9, 10**9))


@pytest.fixture
def journal(outbox: Outbox) -> Journal:
    return Journal("d", outbox, Clock(), image_bytes_max=1000)


def test_a_transition_is_kept_once(journal: Journal, outbox: Outbox) -> None:
    assert journal.told("line") == 0
    for _ in range(3):
        assert journal.execution_once("line", 1, report(ExecutionState.QUEUED))
    assert journal.execution_once("line", 2, report(ExecutionState.DOWNLOADING))
    assert journal.told("line") == 2
    assert states(outbox) == [ExecutionState.QUEUED, ExecutionState.DOWNLOADING]


def test_a_refused_transition_is_asked_for_again(journal: Journal, outbox: Outbox) -> None:
    number, pages = 1, outbox._file.db.execute("PRAGMA page_count").fetchone()[0]
    outbox._file.db.execute(f"PRAGMA max_page_count = {pages}")
    while journal.execution_once("line", number, report(ExecutionState.QUEUED)):
        number += 1
    assert not journal.execution_once("line", number, report(ExecutionState.QUEUED))
    assert journal.counters["outbox_refused"] == 2
    assert journal.told("line") == number - 1
    outbox._file.db.execute("PRAGMA max_page_count = 100000")
    assert journal.execution_once("line", number, report(ExecutionState.QUEUED))
    assert len(states(outbox)) == number


def test_what_took_over_is_kept_once_and_with_its_own_time(
    journal: Journal, outbox: Outbox
) -> None:
    turn = Turned(number=7, at=5.0, alert="left_revoked", text="t", serves="b" * 64, left="a" * 64)
    assert journal.execution_once("line", 9, report(ExecutionState.QUEUED))
    for _ in range(2):
        assert journal.turned("line", turn)
    assert journal.told("line") == 9
    _, entry = outbox.after("events", 0, 100)
    message = decode(Kind.EVENTS, entry.payload)
    assert isinstance(message, EventReport) and message.alert is not None
    assert (message.at, message.alert.name, message.alert.slot) == (5.0, "left_revoked", "line")
    assert (message.alert.left, message.alert.serves) == ("a" * 64, "b" * 64)
    outbox.close()
    assert not journal.turned("line", turn.model_copy(update={"number": 8}))


def test_an_outbox_that_is_closed_is_told_nothing_and_raises_nothing(
    journal: Journal, outbox: Outbox
) -> None:
    outbox.close()
    assert not journal.execution_once("line", 1, report(ExecutionState.QUEUED))
    assert journal.told("line") == 0


def test_words_from_outside_are_kept_whatever_is_in_them(journal: Journal, outbox: Outbox) -> None:
    said = "caf\udce9.jpg" + "." * 5000
    journal.camera(CameraChanged("cam", CameraState.BACKING_OFF, said))
    journal.alert("disk_refused", said)
    camera, alert = (decode(Kind.EVENTS, entry.payload) for entry in outbox.after("events", 0, 100))
    assert camera.camera.detail.startswith("caf\\udce9.jpg.")
    assert alert.alert.text.startswith("caf\\udce9.jpg.")
