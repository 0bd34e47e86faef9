"""What passes as the same answer to the golden frames, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.golden import Seen, answers_sense, compare, slower
from protocol.bundles import GoldenDetection, GoldenFrame, GoldenSet, Thresholds

BOX = (10.0, 10.0, 50.0, 50.0)


def seen(
    confidence: float, class_id: int = 0, shift: float = 0.0, at: float = 0.0
) -> GoldenDetection:
    x1, y1, x2, y2 = (edge + at for edge in BOX)
    return GoldenDetection(class_id=class_id, confidence=confidence, box=(x1 + shift, y1, x2, y2))


def golden(*expected: GoldenDetection) -> GoldenSet:
    return GoldenSet(frames=(GoldenFrame(image="golden/0.png", detections=expected),))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([seen(0.9)], ""),
        ([seen(0.91, shift=1.0)], ""),
        ([seen(0.9), seen(0.26, at=100)], ""),
        ([seen(0.9, shift=1.0), seen(0.89)], "not expected"),
        ([seen(0.5), seen(0.9, shift=1.0)], "not expected"),
        ([], "not seen"),
        ([seen(0.9, class_id=1)], "not seen"),
        ([seen(0.9, at=100)], "not seen"),
        ([seen(0.9, shift=2.0)], "2.0 px off"),
        ([seen(0.8)], "seen at 0.800"),
        ([seen(0.9), seen(0.5, at=100)], "not expected"),
    ],
)
def test_one_object(found: list[GoldenDetection], reason: str) -> None:
    outcome = compare(golden(seen(0.9)), [found])
    assert outcome.passed is (reason == "")
    assert reason in outcome.reason


def test_what_was_below_the_floor_need_not_be_seen() -> None:
    assert compare(golden(seen(0.2)), [[]]).passed


def test_each_seen_detection_serves_once() -> None:
    two = golden(seen(0.9), seen(0.9, shift=0.5))
    assert compare(two, [[seen(0.9), seen(0.9)]]).passed
    assert not compare(two, [[seen(0.9)]]).passed


def test_the_largest_errors_are_told() -> None:
    outcome = compare(golden(seen(0.9), seen(0.6, at=200)), [[seen(0.9), seen(0.61, 0, 1.2, 200)]])
    assert outcome.confidence_error_max == pytest.approx(0.01)
    assert outcome.box_error_px_max == pytest.approx(1.2)


def test_a_frame_that_was_not_run_fails() -> None:
    assert compare(golden(seen(0.9)), []).reason == "not every golden frame was run"


EVEN = Thresholds(default=0.5)


def frame(*detections: GoldenDetection) -> Seen:
    return Seen(width=640, height=480, detections=detections)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (frame(seen(0.9)), ""),
        (frame(), "it finds nothing, where 1 objects are expected"),
        (frame(seen(0.3)), "it finds nothing"),
        (frame(seen(0.9, class_id=2)), "it answers class 2, where the bundle names 2"),
        (frame(*[seen(0.9)] * 300), "it finds everything: 300 objects"),
        (frame(*[seen(0.3)] * 299, seen(0.9)), ""),
        (frame(seen(0.9, at=1000)), "1 of 1 boxes lie outside the frame"),
        (frame(seen(0.9), seen(0.9, at=1000)), ""),
    ],
)
def test_what_no_working_detector_answers(found: Seen, reason: str) -> None:
    said = answers_sense(golden(seen(0.9)), [found], 2, EVEN)
    assert (said == "") == (reason == "") and reason in said


def test_nothing_is_sensible_where_nothing_is_expected() -> None:
    assert answers_sense(golden(), [frame()], 2, EVEN) == ""


@pytest.mark.parametrize("confidence", [0.02, 0.3, 0.51])
def test_nothing_need_be_served_where_nothing_surely_would(confidence: float) -> None:
    faint = golden(seen(confidence)).model_copy(update={"confidence_floor": 0.01})
    assert answers_sense(faint, [frame(seen(min(confidence, 0.49)))], 2, EVEN) == ""


@given(
    detections=st.lists(
        st.builds(
            lambda c, k, box: GoldenDetection(class_id=k, confidence=c, box=box),
            st.floats(0, 1),
            st.integers(0, 5),
            st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4),
        ),
        max_size=20,
    ),
    classes=st.integers(1, 6),
)
def test_whatever_is_answered_gets_a_judgement(
    detections: list[GoldenDetection], classes: int
) -> None:
    said = answers_sense(golden(), [frame(*detections)], classes, EVEN)
    if any(d.class_id >= classes for d in detections):
        assert said


@pytest.mark.parametrize(
    ("candidate", "incumbent", "fine"),
    [
        (3.0, 1.0, True),
        (30.0, 10.0, True),
        (30.1, 10.0, False),
        (1.1, 0.1, True),
        (1.2, 0.1, False),
    ],
)
def test_how_much_slower_is_too_slow(candidate: float, incumbent: float, fine: bool) -> None:
    said = slower(candidate, incumbent, 3.0)
    assert (said == "") == fine
    if not fine:
        assert f"{candidate:.1f} ms" in said and f"{incumbent:.1f} ms" in said
