"""What passes as the same answer to the golden frames, and what does not."""

from __future__ import annotations

import pytest

from edge_agent.update.golden import compare
from protocol.bundles import GoldenDetection, GoldenFrame, GoldenSet

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
