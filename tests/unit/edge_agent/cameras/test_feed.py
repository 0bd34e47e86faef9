from __future__ import annotations

import threading

from edge_agent.cameras.feed import Feed
from edge_agent.cameras.source import CameraSpec
from edge_agent.ledger import NO_MODEL, STOPPED, SUPERSEDED, Ledger
from tests.fixtures.seeing import eventually, frame, take_one


def _feed(live: bool, *cameras: str, buffer_frames: int = 2) -> tuple[Feed, Ledger]:
    ledger = Ledger(cameras)
    specs = [CameraSpec(c, "memory", "tiny", live=live) for c in cameras]
    return Feed(specs, buffer_frames, ledger), ledger


def test_live_frames_are_superseded_by_newer_ones_and_counted() -> None:
    feed, ledger = _feed(True, "a")
    for index in range(3):
        feed.put(frame("a", index))
    taken = take_one(feed, 0)
    assert taken is not None
    assert taken.index == 2
    assert ledger.account("a").captured == 3
    assert ledger.account("a").dropped == {SUPERSEDED: 2}
    assert take_one(feed, 0) is None


def test_frames_in_order_wait_for_room_and_none_is_lost() -> None:
    feed, ledger = _feed(False, "a")

    def produce() -> None:
        for index in range(20):
            feed.put(frame("a", index))

    producer = threading.Thread(target=produce)
    producer.start()
    eventually(lambda: ledger.account("a").captured == 3, "the producer blocks on a full buffer")
    taken = [take_one(feed, 5) for _ in range(20)]
    producer.join(5)
    assert [f.index for f in taken if f] == list(range(20))
    assert ledger.account("a").dropped == {}


def test_cameras_take_turns() -> None:
    feed, _ = _feed(False, "a", "b", "c", buffer_frames=3)
    for camera, count in (("a", 3), ("b", 1), ("c", 2)):
        for index in range(count):
            feed.put(frame(camera, index))
    order = [f.camera for f in (take_one(feed, 0) for _ in range(6)) if f]
    assert order == ["a", "b", "c", "a", "c", "a"]


def test_without_a_model_live_frames_are_dropped_and_others_wait() -> None:
    ledger = Ledger(["live", "file"])
    specs = [CameraSpec("live", "x", "tiny", live=True), CameraSpec("file", "x", "tiny")]
    feed = Feed(specs, 2, ledger)
    feed.put(frame("live"))
    feed.put(frame("file"))
    feed.drop_live(NO_MODEL)
    assert ledger.account("live").dropped == {NO_MODEL: 1}
    assert ledger.account("file").in_flight == 1
    taken = take_one(feed, 0)
    assert taken is not None
    assert taken.camera == "file"


def test_close_wakes_who_waits_and_counts_what_is_left() -> None:
    feed, ledger = _feed(False, "a", buffer_frames=1)
    feed.put(frame("a"))
    producer = threading.Thread(target=feed.put, args=(frame("a", 1),))
    producer.start()
    eventually(lambda: ledger.account("a").captured == 2, "the producer waits")
    feed.close()
    producer.join(5)
    assert not producer.is_alive()
    feed.put(frame("a", 2))
    assert take_one(feed, 0) is None
    account = ledger.account("a")
    assert account.dropped == {STOPPED: 3}
    assert account.in_flight == 0


def test_a_batch_takes_from_all_cameras_in_turn_and_no_more_than_it_may() -> None:
    feed, ledger = _feed(False, "a", "b", buffer_frames=3)
    for camera in ("a", "b"):
        for index in range(3):
            feed.put(frame(camera, index))
    batches = [feed.take(4, 0, 0) for _ in range(3)]
    assert [[f.camera for f in batch] for batch in batches] == [["a", "b"] * 2, ["a", "b"], []]
    assert ledger.account("a").dropped == {}


def test_a_full_batch_does_not_wait_for_its_deadline() -> None:
    feed, _ = _feed(False, "a", "b")
    feed.put(frame("a"))
    feed.put(frame("b"))
    assert len(feed.take(2, 0, gather_s=3600)) == 2


def test_a_batch_that_is_not_full_goes_at_its_deadline() -> None:
    feed, _ = _feed(False, "a")
    feed.put(frame("a"))
    assert len(feed.take(2, 0, gather_s=0.01)) == 1


def test_a_late_frame_joins_a_batch_that_still_waits() -> None:
    feed, _ = _feed(False, "a", "b")
    feed.put(frame("a"))
    batches: list[int] = []
    taker = threading.Thread(target=lambda: batches.append(len(feed.take(2, 0, gather_s=60))))
    taker.start()
    feed.put(frame("b"))
    taker.join(30)
    assert batches == [2]
