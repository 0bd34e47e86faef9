from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.rules.binding import ClassNotice
from edge_agent.rules.rule import RuleChange, RuleProgress, RuleWatch, step
from edge_agent.rules.states import RuleEvent, RuleState
from tests.fixtures.seeing import detections, result
from tests.unit.edge_agent.rules.sections import LEFT_HALF, apart, renamed, rule

counts = st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=60)


@given(counts, st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_it_is_active_as_the_frames_before_say(
    matched: list[int | None], count_min: int, consecutive: int, clear: int
) -> None:
    section = rule(count_min=count_min, consecutive_frames=consecutive, clear_frames=clear)
    progress, active = RuleProgress(), False
    since = 0
    for number, count in enumerate(matched):
        progress, event = step(progress, count, section)
        fulfils = count is not None and count >= count_min
        run = _run(matched[since : number + 1], count_min, fulfils)
        expected = active
        if count is None:
            expected = False
        elif active:
            expected = fulfils or run < clear
        elif fulfils:
            expected = run >= consecutive
        assert (progress.state is RuleState.ACTIVE) is expected
        assert (progress.state is RuleState.UNBOUND) is (count is None)
        if expected != active:
            assert event is not None, "every change says what moved it"
            since = number + 1
        active = expected


def _run(matched: list[int | None], count_min: int, fulfils: bool) -> int:
    """Frames in a row, up to the last, that fulfil the rule as the last does."""
    run = 0
    for count in reversed(matched):
        if count is None or (count >= count_min) is not fulfils:
            break
        run += 1
    return run


def test_it_fires_on_the_very_frame_and_ends_once() -> None:
    watch = RuleWatch(rule(count_min=2, consecutive_frames=2, clear_frames=2), "cam")
    changes = [watch.observe(apart(n)) for n in (2, 1, 2, 2, 3, 0, 2, 1, 1, 0)]
    assert [len(c) for c in changes] == [1, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert changes[0] == (RuleChange(watch.section, False, RuleEvent.FIRST_FRAME, (0, 1)),)
    assert changes[3] == (RuleChange(watch.section, True, RuleEvent.FULFILLED, (0, 1)),)
    assert changes[8] == (RuleChange(watch.section, False, RuleEvent.ENDED, (0,)),)


def test_the_first_frame_says_where_a_rule_stands() -> None:
    """Whoever holds the rule's state may have it from an earlier run of the agent."""
    quiet, firing, blind = (RuleWatch(rule(classes=("class 0",)), "cam") for _ in range(3))
    assert quiet.observe(apart(0)) == (RuleChange(quiet.section, False, RuleEvent.FIRST_FRAME, ()),)
    assert quiet.observe(apart(0)) == ()
    assert firing.observe(apart(1)) == (
        RuleChange(firing.section, True, RuleEvent.FULFILLED, (0,)),
    )
    assert blind.observe(renamed(apart(1), "a", "b"))[-1] == (
        RuleChange(blind.section, False, RuleEvent.CLASSES_LOST, ())
    )


@pytest.mark.parametrize(
    ("keys", "matching"),
    [
        ({}, 2),
        ({"classes": ("class 1",)}, 0),
        ({"classes": ("class 1",), "confidence_min": 0.3}, 1),
        ({"confidence_min": 0.05}, 4),
        ({"confidence_min": 0.8}, 1),
        ({"area_min_share": 0.1}, 1),
        ({"area_max_share": 0.1}, 1),
        ({"zone": LEFT_HALF}, 1),
        ({"zone": ((0.0, 0.9), (1.0, 0.9), (1.0, 1.0), (0.0, 1.0))}, 0),
        ({"zone": ((0.0, 0.9), (1.0, 0.9), (1.0, 1.0), (0.0, 1.0)), "anchor": "bottom"}, 1),
    ],
)
def test_only_what_the_rule_names_counts(keys: dict[str, object], matching: int) -> None:
    found = detections((0.9, 0), (0.5, 0), (0.4, 1), (0.1, 0))
    # The picture is 64 by 48: a large box right and low, a small one left, two unserved.
    boxes = np.array([(40, 20, 64, 48), (0, 0, 8, 8), (0, 30, 9, 9), (50, 0, 60, 9)], np.float32)
    boxes[2] = (10, 10, 20, 20)
    given_result = result(replace(found, boxes=boxes))
    watch = RuleWatch(rule(**keys), "cam")
    [change] = [c for c in watch.observe(given_result) if isinstance(c, RuleChange)]
    assert (change.active, len(change.detections)) == (matching > 0, matching)


def test_an_object_that_the_model_shows_twice_counts_once() -> None:
    found = detections((0.9, 0), (0.8, 0), (0.7, 1))
    boxes = np.array([(0, 0, 20, 20), (0, 0, 20, 21), (0, 0, 20, 20)], np.float32)
    twice = result(replace(found, boxes=boxes))
    [change] = RuleWatch(rule(count_min=3), "cam").observe(twice)
    assert isinstance(change, RuleChange)
    assert not change.active
    [change] = RuleWatch(rule(count_min=2), "cam").observe(twice)
    assert isinstance(change, RuleChange)
    assert change.detections == (0, 2), "classes are told apart"
    [change] = RuleWatch(rule(count_min=3, same_overlap_min=1.0), "cam").observe(twice)
    assert isinstance(change, RuleChange)
    assert change.active


def test_a_rule_follows_its_classes_by_name() -> None:
    watch = RuleWatch(rule(classes=("class 0", "crack")), "cam")
    assert watch.observe(apart(0))[0] == ClassNotice("r1", "cam", "crack", lost=True)
    [fired] = watch.observe(apart(1))
    assert isinstance(fired, RuleChange)
    # The same objects, under another id of another model: the rule goes on as it was.
    other = renamed(apart(1, 1), "crack", "class 0")
    assert watch.observe(other) == (ClassNotice("r1", "cam", "crack", lost=False),)
    assert watch.observe(renamed(apart(0), "crack", "class 0"))[0] == RuleChange(
        watch.section, False, RuleEvent.ENDED, ()
    )


def test_a_rule_without_any_class_left_ends_and_cannot_fire() -> None:
    watch = RuleWatch(rule(classes=("class 0",)), "cam")
    assert len(watch.observe(apart(1))) == 1
    blind = renamed(apart(1), "a", "b")
    lost = ClassNotice("r1", "cam", "class 0", lost=True)
    ended = RuleChange(watch.section, False, RuleEvent.CLASSES_LOST, ())
    assert watch.observe(blind) == (lost, ended)
    assert watch.observe(blind) == (), "said once"
    back = renamed(apart(1, 1), "a", "class 0", digest="c" * 64)
    assert watch.observe(back) == (
        replace(lost, lost=False),
        RuleChange(watch.section, True, RuleEvent.FULFILLED, (0,)),
    )


def test_a_new_bundle_with_the_same_classes_changes_nothing() -> None:
    watch = RuleWatch(rule(classes=("class 0",), consecutive_frames=3), "cam")
    watch.observe(apart(1))
    assert watch.observe(renamed(apart(1), "class 0", "class 1")) == ()
    assert len(watch.observe(apart(1))) == 1
