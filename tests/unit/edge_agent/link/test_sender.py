"""The sender over an outbox on disk and a link that is a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.link.http import HttpError
from edge_agent.link.outbox import Outbox, Quota
from edge_agent.link.sender import Sender, Uploaded
from protocol.messages import Ack, Acks, decode, encode
from protocol.topics import Kind, Topic
from tests.unit.edge_agent.link.test_outbox import covered, event, put

RESEND_AFTER_S = 10.0
HTTP_RETRY_S = 60.0


class Link:
    """A link that takes everything, or only so much."""

    def __init__(self) -> None:
        self.connected = True
        self.takes = 10_000
        self.sent: list[tuple[Topic, bytes]] = []

    def publish(self, topic: Topic, payload: bytes, *, retain: bool = False) -> bool:  # noqa: ARG002
        if len(self.sent) >= self.takes:
            return False
        self.sent.append((topic, payload))
        return True

    def sequences(self, kind: Kind = Kind.EVENTS) -> list[int]:
        return [
            decode(kind, payload).sequence for topic, payload in self.sent if topic.kind is kind
        ]


class Rig:
    def __init__(self, folder: Path) -> None:
        self.outbox = Outbox(folder, "d", Quota(10**9, 10**9))
        self.link = Link()
        self.http: list[str] = []
        self.http_error: HttpError | None = None
        self.now = 0.0
        self.sender = Sender(
            "d",
            self.outbox,
            self.link,
            put_image=self._put,
            submit=lambda job: job(),
            deliver=self._deliver,
            inflight_max=3,
            resend_after_s=RESEND_AFTER_S,
            http_retry_s=HTTP_RETRY_S,
        )
        self.uploads: list[Uploaded] = []

    def ack(self, stream: Any, sequence: int) -> None:
        ack = Ack(stream=stream, epoch=self.outbox.epoch, sequence=sequence)
        self.sender.acknowledge(Acks(device_id="d", acks=(ack,)), self.now)

    def pump(self) -> None:
        """Pump, and bring back the ends of uploads as the agent's loop would."""
        self.sender.pump(self.now)
        while self.uploads:
            self.sender.uploaded(self.uploads.pop(0), self.now)

    def _put(self, sha256: str, _image: bytes) -> None:
        self.http.append(sha256)
        if self.http_error is not None:
            raise self.http_error

    def _deliver(self, outcome: Uploaded) -> None:
        self.uploads.append(outcome)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.outbox.close()


def test_few_in_flight_and_the_next_after_an_acknowledgement(rig: Rig) -> None:
    for _ in range(5):
        rig.outbox.append("events", event)
    rig.pump()
    rig.pump()
    assert rig.link.sequences() == [1, 2, 3]
    rig.ack("events", 2)
    rig.pump()
    assert rig.link.sequences() == [1, 2, 3, 4, 5]


def test_a_hub_that_was_restored_is_told_what_will_not_come_again(rig: Rig) -> None:
    for _ in range(4):
        rig.outbox.append("events", event)
    rig.pump()
    rig.ack("events", 3)
    rig.ack("events", 1)
    told = decode(Kind.EVENTS, rig.link.sent[-1][1])
    assert (told.kind, told.first_sequence, told.sequence) == ("tombstone", 2, 3)
    rig.ack("events", 3)
    assert rig.link.sent[-1][1] == encode(told), "an acknowledgement of all is no hole"


def test_all_unacknowledged_goes_again_after_the_wait_and_in_a_new_session(rig: Rig) -> None:
    for _ in range(3):
        rig.outbox.append("events", event)
    rig.pump()
    rig.ack("events", 1)
    rig.now = RESEND_AFTER_S
    rig.pump()
    assert rig.link.sequences() == [1, 2, 3, 2, 3]
    rig.sender.rewind()
    rig.pump()
    assert rig.link.sequences()[-2:] == [2, 3]


def test_what_the_link_does_not_take_is_not_in_flight(rig: Rig) -> None:
    rig.outbox.append("events", event)
    rig.link.takes = 0
    rig.pump()
    rig.link.takes = 10
    rig.pump()
    assert rig.link.sequences() == [1]


def test_an_image_goes_by_http_before_its_report(rig: Rig) -> None:
    put(rig.outbox, "random", 1)
    rig.pump()
    assert len(rig.http) == 1
    assert [topic.kind for topic, _ in rig.link.sent] == [Kind.SAMPLES]


def test_closed_http_means_chunks_and_no_further_try_for_a_while(rig: Rig) -> None:
    rig.http_error = HttpError("no way")
    put(rig.outbox, "random", 1)
    put(rig.outbox, "random", 2)
    rig.pump()
    rig.pump()
    kinds = [topic.kind for topic, _ in rig.link.sent]
    assert kinds == [Kind.SAMPLE_CHUNK, Kind.SAMPLES] * 2
    assert len(rig.http) == 1
    rig.now = HTTP_RETRY_S + 1
    put(rig.outbox, "random", 3)
    rig.ack("samples", 2)
    rig.pump()
    assert len(rig.http) == 2


def test_an_image_that_the_hub_refuses_becomes_a_tombstone(rig: Rig) -> None:
    rig.http_error = HttpError("no jpeg", 422)
    put(rig.outbox, "random", 1)
    rig.pump()
    rig.pump()
    message = decode(Kind.SAMPLES, rig.link.sent[-1][1])
    assert (message.kind, message.sequence) == ("tombstone", 1)


def test_a_lost_image_does_not_hold_up_the_rest(rig: Rig) -> None:
    put(rig.outbox, "random", 1)
    put(rig.outbox, "random", 2)
    first = rig.outbox.after("samples", 0, 1)[0]
    rig.outbox.image_path(first.image_sha256 or "").unlink()
    rig.pump()
    rig.pump()
    assert rig.link.sequences(Kind.SAMPLES) == [1, 2]


@pytest.mark.parametrize("acked", [0, 4, 6])
def test_a_restored_folder_begins_an_epoch_and_loses_nothing_that_is_new(
    tmp_path: Path, acked: int
) -> None:
    """Its numbers were given before; the hub would take what comes for what it has."""
    before = Outbox(tmp_path, "d", Quota(10**9, 10**9))
    for number in range(4):
        put(before, "events", number)
    before.acknowledge("events", before.epoch, 1)
    before.close()
    rig = Rig(tmp_path)
    epoch = rig.outbox.epoch
    for number, what in enumerate(["events", "events", "events", "telemetry", "random"]):
        put(rig.outbox, what, number)
    if acked:
        rig.ack("events", acked)
    assert (rig.outbox.epoch, rig.sender.counters["epochs_renewed"]) == (epoch, 0), "all given here"
    rig.pump()
    rig.link.sent.clear()
    rig.ack("events", 9)
    assert (rig.outbox.epoch != epoch, rig.sender.counters["epochs_renewed"]) == (True, 1)
    new = 3 if acked <= 4 else 1
    assert covered(rig.outbox, "events") == list(range(1, new + 1)), "what was there before is not"
    assert rig.outbox.counters()["outbox_events_left"] == (0 if acked else 3)
    assert (covered(rig.outbox, "telemetry"), covered(rig.outbox, "samples")) == ([1], [1])
    rig.pump()
    sent = [decode(Kind.EVENTS, raw) for topic, raw in rig.link.sent if topic.kind is Kind.EVENTS]
    assert [m.sequence for m in sent] == list(range(1, new + 1))
    assert {m.epoch for m in sent} == {rig.outbox.epoch}
    rig.ack("events", new)
    put(rig.outbox, "events", 9)
    assert covered(rig.outbox, "events") == [new + 1]
    rig.outbox.close()
    again = Outbox(tmp_path, "d", Quota(10**9, 10**9))
    assert (again.epoch, covered(again, "events")) == (rig.outbox.epoch, [new + 1])
    again.close()


def test_tombstones_move_with_their_range(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", Quota(10**9, 10**9))
    for number in range(3):
        put(outbox, "events", number)
    outbox.acknowledge("events", outbox.epoch, 1)
    outbox.close()
    outbox = Outbox(tmp_path, "d", Quota(10**9, 10**9))
    for number in range(4):
        put(outbox, "events", number)
    for sequence in (3, 4, 5):  # one from before the start and two after it, in one
        outbox.abandon("events", sequence, "it has to go")
    assert outbox.begin_anew()
    first = outbox.after("events", 0, 10)[0]
    message = decode(Kind.EVENTS, first.payload)
    assert (message.first_sequence, message.sequence) == (1, 2)
    assert covered(outbox, "events") == [1, 2, 3, 4]
    outbox.close()
