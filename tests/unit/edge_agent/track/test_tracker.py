from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.track.settings import TrackingSection
from edge_agent.track.tracker import UNTRACKED, Tracker
from tests.unit.edge_agent.track.world import Route, World, box, known, seen

pytest.importorskip("lap", reason="the assignment is lap's")


def test_an_object_gets_its_id_when_it_was_seen_twice_and_keeps_it() -> None:
    [ids] = World([lambda f: (50 + 4 * f, 100)], jitter_px=1.0).run(100)
    assert ids[0] == UNTRACKED
    assert set(ids[1:]) == {1}


def test_objects_that_pass_each_other_keep_their_ids() -> None:
    """On neighbouring lanes, in opposite directions, boxes overlapping by a fifth."""
    world = World([lambda f: (20 + 5 * f, 100), lambda f: (420 - 5 * f, 130)], jitter_px=0.5)
    first, second = (known(ids) for ids in world.run(80))
    assert (len(first), len(second)) == (1, 1)
    assert first != second


def test_twenty_objects_on_a_belt_keep_their_ids() -> None:
    def belt(number: int) -> Route:
        return lambda f: (60.0 * (number % 10) + 8.0 * f, 50 + 100.0 * (number // 10))

    routes = [belt(number) for number in range(20)]
    ids = [known(i) for i in World(routes, jitter_px=1.0).run(120)]
    assert all(len(i) == 1 for i in ids)
    assert len(set.union(*ids)) == 20


@pytest.mark.parametrize(("gap_frames", "same"), [(5, True), (20, True), (30, False)])
def test_an_object_keeps_its_id_through_a_gap_of_bounded_time(gap_frames: int, same: bool) -> None:
    """Hidden in motion; with 25 frames a second, 30 frames are over the default of 1 s."""
    [ids] = World(
        [lambda f: None if 40 <= f < 40 + gap_frames else (50 + 6 * f, 100)], jitter_px=0.5
    ).run(120)
    assert len(known(ids)) == (1 if same else 2)


def test_an_object_that_is_half_hidden_goes_on_by_its_low_confidence() -> None:
    def dims(frame: int) -> float:
        return 0.12 if 30 <= frame < 90 else 0.9

    [ids] = World([lambda f: (50 + 4 * f, 100)], jitter_px=0.5).run(120, dims)
    assert set(ids[1:]) == {1}
    only_served = TrackingSection(low_confidence_min=0.2)
    [ids] = World([lambda f: (50 + 4 * f, 100)], only_served).run(120, dims)
    assert known(ids) == {1, 2}, "the same without the second stage"


def test_what_is_not_served_begins_no_track() -> None:
    [ids] = World([lambda _f: (50, 100)]).run(20, lambda _f: 0.2)
    assert known(ids) == set()


def test_a_second_box_of_an_object_begins_no_track() -> None:
    tracker = Tracker(TrackingSection())
    twice = seen([box((50, 50)), box((51, 50))], [0.9, 0.8], [0, 1])
    for frame in range(10):
        ids = tracker.update(twice, 1, frame / 25)
    assert sorted(ids.tolist()) == [UNTRACKED, 1]


def test_a_flicker_of_one_frame_gets_no_id() -> None:
    tracker = Tracker(TrackingSection())
    for frame in range(20):
        shown = [box((50, 50))] if frame % 2 == 0 else []
        ids = tracker.update(seen(shown), 1, frame / 25)
        assert ids.tolist() == [UNTRACKED] * len(shown)


def test_classes_tell_objects_apart_until_the_model_changes() -> None:
    tracker = Tracker(TrackingSection())
    two = [box((100, 100)), box((120, 100))]
    for frame in range(5):
        ids = tracker.update(seen(two, class_ids=[0, 1]), 1, frame / 25)
    assert ids.tolist() == [1, 2]
    tracker.forget_classes()
    ids = tracker.update(seen(two, class_ids=[7, 8]), 1, 0.2)
    assert ids.tolist() == [1, 2], "they are where they were"
    # Half way between both, the class decides.
    between = [box((110, 100))]
    assert tracker.update(seen(between, class_ids=[8]), 1, 0.24).tolist() == [2]


def test_frames_that_were_dropped_are_steps_too() -> None:
    tracker = Tracker(TrackingSection())
    tracked = []
    for frame in (*range(10), *range(10, 60, 5)):
        steps = 1 if frame <= 10 else 5
        tracked += tracker.update(seen([box((50 + 10 * frame, 100))]), steps, frame / 25).tolist()
    assert known(tracked) == {1}


def test_no_more_objects_are_followed_than_the_limit_says() -> None:
    tracker = Tracker(TrackingSection(tracks_max=3))
    many = seen([box((100.0 * i, 50)) for i in range(8)])
    for frame in range(5):
        ids = tracker.update(many, 1, frame / 25)
    assert sorted(ids.tolist()) == [UNTRACKED] * 5 + [1, 2, 3]


place = st.tuples(
    st.floats(0, 600, width=32), st.floats(0, 400, width=32), st.floats(1, 80, width=32)
)
sights = st.lists(
    st.lists(st.tuples(place, st.sampled_from([0.06, 0.15, 0.3, 0.9])), max_size=6), max_size=25
)


@settings(max_examples=60)
@given(sights, st.integers(1, 3))
def test_whatever_is_seen_ids_are_unique_rise_and_never_come_back(
    frames: list[list[tuple[tuple[float, float, float], float]]], confirm_frames: int
) -> None:
    limits = TrackingSection(confirm_frames=confirm_frames, gap_s=0.2)
    tracker, last_s, highest = Tracker(limits), dict[int, float](), 0
    for number, shown in enumerate(frames):
        now_s = number / 25
        boxes = [(x, y, x + size, y + size) for (x, y, size), _ in shown]
        ids = tracker.update(seen(boxes, [p for _, p in shown]), 1, now_s)
        assert ids.dtype == np.int32
        assert ids.shape == (len(shown),)
        given_ids = [i for i in ids.tolist() if i != UNTRACKED]
        assert len(set(given_ids)) == len(given_ids)
        for track in given_ids:
            assert track > highest or now_s - last_s[track] <= limits.gap_s + 1e-9
            last_s[track] = now_s
        highest = max([highest, *given_ids])


def test_a_call_that_raises_leaves_the_tracker_as_it_was() -> None:
    tracker, still = Tracker(TrackingSection()), seen([box((50, 50))])
    for frame in range(3):
        tracker.update(still, 1, frame / 25)
    with pytest.raises(IndexError):
        tracker.update(seen([box((50, 50))] * 2, [0.9, 0.9], [0]), 1, 0.12)
    assert tracker.update(still, 1, 0.16).tolist() == [1]
