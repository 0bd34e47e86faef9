"""A message that can never be taken holds nothing else of its stream back."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from cloud import ingest
from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.telemetry import service as telemetry
from cloud.unusable import stand_in
from protocol.messages import EventReport, encode
from protocol.parts import SEQUENCE_MAX
from protocol.topics import Kind, Topic, TopicSpace
from protocol.windows import WindowStats
from tests.unit.cloud.conftest import OPERATOR, Heard
from tests.unit.cloud.telemetry.conftest import DEVICE, acked, stream, window
from tests.unit.protocol.examples import EPOCH, EXECUTION

EVENTS = Topic(Kind.EVENTS, device_id=DEVICE)


def event(sequence: int, **changed: Any) -> bytes:
    """An event of an execution; `changed` of its report."""
    message = EventReport(**stream(sequence), at=float(sequence), execution=EXECUTION)
    said = json.loads(encode(message))
    said["execution"] |= changed
    return json.dumps(said).encode()


class Place:
    """A hub without a link that is given messages, and what it answers."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self.heard = hub, Heard()
        self._space = TopicSpace(hub.settings.mqtt.root)
        hub.database.publisher = self.heard
        with hub.database.transaction() as session:
            fleet.enrol(session, OPERATOR, DEVICE)

    def take(self, *messages: tuple[Topic, bytes]) -> dict[str, int]:
        """What became of the messages, which are stored when this returns."""
        self.hub.writer.start()
        self.offer(*messages)
        self.hub.writer.stop()
        return self.hub.counters.snapshot()

    def offer(self, *messages: tuple[Topic, bytes]) -> None:
        for topic, payload in messages:
            self.hub.writer.offer(self._space.render(topic), payload)

    @property
    def stored(self) -> list[int]:
        with self.hub.database.reading() as session:
            return [event.sequence for event in telemetry.list_events(session, OPERATOR)]


@pytest.fixture
def place(hub: Hub) -> Place:
    return Place(hub)


@pytest.mark.parametrize(
    "changed", [{"state": "HOVERING"}, {"attempt": 2**63}, {"attempt": SEQUENCE_MAX + 1}]
)
def test_what_cannot_be_decoded_is_counted_and_holds_nothing_back(
    place: Place, changed: dict[str, Any]
) -> None:
    unknown = event(2, **changed)
    counts = place.take(*((EVENTS, payload) for payload in (event(1), unknown, event(3), unknown)))

    assert (acked(place.heard), place.stored) == ({"events": 3}, [1, 3])
    assert counts == {
        "messages": 4,
        "refused.malformed": 2,
        "stored": 2,
        "tombstones": 1,
        "duplicates": 1,
    }


def test_what_cannot_be_stored_is_counted_and_holds_nothing_back(place: Place) -> None:
    windows = [window(1), window(2, stats=WindowStats(frames_inferred=2**63)), window(3)]
    counts = place.take(*((one.topic, one.payload) for one in windows))

    assert acked(place.heard) == {"telemetry": 3}
    assert counts == {"messages": 3, "refused.not_storable": 1, "stored": 2, "tombstones": 1}


def test_what_a_newer_version_says_is_kept_for_it(place: Place) -> None:
    said = json.loads(event(1)) | {"schema_version": 2}
    counts = place.take((EVENTS, json.dumps(said).encode()), (EVENTS, event(2)))

    assert acked(place.heard) == {"events": 0}
    assert counts == {"messages": 2, "refused.schema_version": 1, "stored": 1}


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        json.dumps(stream(1) | {"device_id": "line-2"}).encode(),
        json.dumps(stream(1) | {"sequence": True}).encode(),
        json.dumps(stream(1) | {"sequence": 2**53}).encode(),
        json.dumps(stream(1) | {"epoch": "E"}).encode(),
        json.dumps({"device_id": DEVICE, "epoch": EPOCH}).encode(),
    ],
)
def test_what_says_no_number_of_its_own_device_accounts_for_nothing(payload: bytes) -> None:
    assert stand_in(EVENTS, payload) is None


def test_what_is_not_numbered_accounts_for_nothing() -> None:
    payload = json.dumps(stream(1)).encode()

    assert stand_in(Topic(Kind.REPORTED, device_id=DEVICE), payload) is None
    found = stand_in(EVENTS, payload)
    assert found is not None
    assert (found.device_id, found.epoch) == (DEVICE, EPOCH)
    assert (found.first_sequence, found.sequence) == (1, 1)


@pytest.mark.parametrize("deaf_after_s", [0.0, 60.0])
def test_a_hub_whose_database_refuses_for_long_does_not_hear(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, deaf_after_s: float
) -> None:
    """The timers of rollouts go by that: words that wait to be stored are no silence."""
    monkeypatch.setattr(ingest, "DEAF_AFTER_S", deaf_after_s)
    place, seen = Place(hub), []
    known = fleet.known_ids

    def refuses_twice(session: Session, ids: set[str]) -> set[str]:
        seen.append(hub.writer.stores_since)
        if len(seen) <= 2:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        return known(session, ids)

    monkeypatch.setattr(hub.writer, "_known_devices", refuses_twice)
    began = time.time()
    hub.writer.start()
    place.offer((EVENTS, event(1)))
    while not acked(place.heard):  # at its end a hub tries no more
        time.sleep(0.01)
    hub.writer.stop()

    assert hub.counters.snapshot()["write_failures"] == 2
    assert hub.writer.stores_since is not None
    if deaf_after_s:
        assert [*seen, hub.writer.stores_since] == [0.0] * 4
    else:
        assert seen == [0.0, None, None]
        assert hub.writer.stores_since >= began
