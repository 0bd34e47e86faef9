"""Windows and events: stored once, acknowledged after the commit, told to others."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session

from cloud.inbound import Received, Tally
from cloud.telemetry import service
from protocol.histograms import confidence_histogram
from protocol.messages import Alert
from protocol.topics import Kind
from protocol.windows import ClassStats, WindowStats
from tests.unit.cloud.conftest import OPERATOR
from tests.unit.cloud.telemetry.conftest import Place, acked, event, tombstone, window
from tests.unit.protocol.examples import DIGEST, EXECUTION


def store(place: Place, batch: list[Received]) -> Tally:
    with place.database.transaction() as session:
        return service.store_windows(session, batch, ranges_max=16)


def sequences(place: Place) -> list[int]:
    with place.database.reading() as session:
        return [w.sequence for w in service.list_windows(session, OPERATOR, limit=1000)]


def test_a_window_is_stored_once(place: Place) -> None:
    assert store(place, [window(1), window(1)]) == {"stored": 1, "duplicates": 1}
    assert store(place, [window(1), window(2)]) == {"stored": 1, "duplicates": 1}
    assert (sequences(place), acked(place.heard)) == ([1, 2], {"telemetry": 2})


def test_what_is_missing_holds_the_acknowledgement(place: Place) -> None:
    store(place, [window(1), window(3)])
    assert acked(place.heard) == {"telemetry": 1}
    store(place, [window(2)])
    assert (sorted(sequences(place)), acked(place.heard)) == ([1, 2, 3], {"telemetry": 3})


def test_a_duplicate_is_acknowledged_again(place: Place) -> None:
    store(place, [window(1)])
    place.heard.messages.clear()
    store(place, [window(1)])
    assert acked(place.heard) == {"telemetry": 1}


def test_a_tombstone_stands_for_what_will_never_come(place: Place) -> None:
    tally = store(place, [window(1), tombstone(Kind.TELEMETRY, 2, 9), window(10)])
    assert tally == {"stored": 2, "tombstones": 1}
    assert (sequences(place), acked(place.heard)) == ([1, 10], {"telemetry": 10})


def test_a_new_outbox_begins_anew(place: Place) -> None:
    store(place, [window(1), window(1, epoch="ef" * 16)])
    assert sequences(place) == [1, 1]


def test_too_many_holes_are_refused_and_come_again(place: Place) -> None:
    far = [window(n) for n in range(2, 100, 2)]
    tally = store(place, far)
    assert (tally["stored"], tally["refused.too_far_ahead"]) == (16, 33)
    store(place, [window(n) for n in range(1, 100)])
    store(place, [window(n) for n in range(1, 100)])
    assert (sorted(sequences(place)), acked(place.heard)) == (
        list(range(1, 100)),
        {"telemetry": 99},
    )


def test_what_is_not_committed_is_not_acknowledged(place: Place) -> None:
    with pytest.raises(RuntimeError), place.database.transaction() as session:
        service.store_windows(session, [window(1)], ranges_max=16)
        raise RuntimeError
    assert (sequences(place), place.heard.messages) == ([], [])
    store(place, [window(1)])
    assert sequences(place) == [1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), max_size=6))
def test_any_batches_store_each_sequence_once(place: Place, batches: list[list[int]]) -> None:
    epoch = uuid.uuid4().hex  # an outbox of its own for each example
    before = len(sequences(place))
    for batch in batches:
        store(place, [window(number, epoch=epoch) for number in batch])
    stored = sequences(place)[before:]
    assert sorted(stored) == sorted({n for batch in batches for n in batch})


def test_series_hold_the_exact_means(place: Place) -> None:
    seen = ClassStats(confidence=confidence_histogram().add([0.6, 0.8]), served=2)
    stats = WindowStats(frames_inferred=4, served_confidence_sum=1.4, classes={0: seen})
    store(place, [window(n, stats=stats) for n in (1, 2, 7)])
    with place.database.reading() as session:
        points = service.summarise(session, OPERATOR, camera="cam", bucket_s=60.0)
    assert [(p.start, p.windows, p.frames, p.detections) for p in points] == [
        (0.0, 2, 8, 4),
        (60.0, 1, 4, 2),
    ]
    assert points[0].mean_confidence == pytest.approx(0.7)
    assert points[0].detections_per_frame == pytest.approx(0.5)
    assert points[0].bundle_digest == DIGEST


def test_what_moves_rollouts_is_told_once_in_its_transaction(place: Place) -> None:
    told = []

    def tell(session: Session, words: Sequence[service.Step | service.Turn]) -> None:
        told.append((session.in_transaction(), *words))

    turned = Alert(name="went", text="", slot="factory", left="a" * 64, serves="b" * 64)
    batch = [
        event(1, execution=EXECUTION),
        event(2, alert=Alert(name="disk", text="is full")),
        event(3, alert=turned),
        event(4, execution=EXECUTION),
    ]
    for _ in range(2):
        with place.database.transaction() as session:
            service.store_events(session, batch, ranges_max=16, on_words=(tell,))
    turn = service.Turn("line-1", "went", "factory", "a" * 64, "b" * 64, 3.0)
    assert told == [(True, ("line-1", EXECUTION, 1.0), turn, ("line-1", EXECUTION, 4.0))], (
        "in their order"
    )
    with place.database.reading() as session:
        kinds = [e.kind for e in service.list_events(session, OPERATOR)]
    assert (kinds, acked(place.heard)) == (
        ["execution", "alert", "alert", "execution"],
        {"events": 4},
    )


def test_windows_of_one_camera_and_build_are_read_newest_first(place: Place) -> None:
    other = "f" * 64
    store(place, [window(n) for n in range(1, 6)])
    store(place, [window(6, bundle_digest=other), window(7, camera="door"), window(8, slot="shop")])
    with place.database.reading() as session:
        rows = service.window_texts(
            session, OPERATOR, "line-1", "cam", slot="factory", bundle_digest=DIGEST,
            since=20.0, until=50.0, limit=2,
        )  # fmt: skip
        assert [(start, end) for start, end, _ in rows] == [(40.0, 50.0), (30.0, 40.0)]
        assert '"sequence":4' in rows[0][2]
        cameras = service.cameras_of(session, OPERATOR, ["line-1"], slot="factory", since=60.0)
        assert cameras == [("line-1", "cam"), ("line-1", "door")]
        frames = service.frames_of(
            session, OPERATOR, ["line-1"], slot="factory", bundle_digests=[DIGEST], since=40.0
        )
        assert frames == 5 * 3
        assert service.frames_of(
            session, OPERATOR, ["nobody"], slot="factory", bundle_digests=[DIGEST], since=0.0
        ) == 0  # fmt: skip


def test_alerts_of_some_devices_are_read_newest_first(place: Place) -> None:
    batch = [event(n, alert=Alert(name="disk", text=str(n))) for n in (1, 2, 3)]
    batch.append(event(4, execution=EXECUTION))
    with place.database.transaction() as session:
        service.store_events(session, batch, ranges_max=16)
    with place.database.reading() as session:
        rows = service.alert_texts(session, OPERATOR, ["line-1"], since=2.0, limit=10)
        assert [(device_id, at) for device_id, at, _ in rows] == [("line-1", 3.0), ("line-1", 2.0)]
        assert service.alert_texts(session, OPERATOR, ["line-2"], since=0.0, limit=10) == []
