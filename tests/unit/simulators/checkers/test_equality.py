"""Two programs that see the same, nearly the same, and not the same."""

from __future__ import annotations

from protocol.bundles import Thresholds
from simulators.checkers.equality import compare
from simulators.checkers.records import Labelled

A = Labelled(0, (10, 10, 50, 50), 0.9)
B = Labelled(1, (60, 10, 90, 50), 0.6)
FAINT = Labelled(1, (0, 0, 9, 9), 0.2505)
EVERYWHERE = Thresholds(default=0.25)


def moved(by: Labelled, px: float = 0.0, confidence: float = 0.0) -> Labelled:
    box = (by.box[0] + px, by.box[1], by.box[2], by.box[3])
    return Labelled(by.class_id, box, by.confidence + confidence)


def test_small_differences_are_allowed_and_measured() -> None:
    result = compare([moved(A, 0.4, 0.0005), B], [B, A], EVERYWHERE)
    assert result.equal and result.matched == 2
    assert abs(result.box_error_px - 0.4) < 1e-9
    assert abs(result.confidence_error - 0.0005) < 1e-9


def test_larger_differences_are_not() -> None:
    for other in (moved(A, 0.6), moved(A, confidence=-0.002), Labelled(2, A.box, A.confidence)):
        result = compare([other, B], [A, B], EVERYWHERE)
        assert result.unmatched == (other, A)


def test_what_is_missing_or_too_much_is_found() -> None:
    assert compare([A], [A, B], EVERYWHERE).unmatched == (B,)
    assert compare([A, A], [A], EVERYWHERE).unmatched == (A,)


def test_at_the_threshold_either_side_may_be_alone() -> None:
    assert compare([A], [A, FAINT], EVERYWHERE).equal
    assert not compare([A], [A, FAINT], Thresholds(default=0.2)).equal


def test_each_class_has_its_own_threshold() -> None:
    own = Thresholds(default=0.25, per_class={1: 0.7})
    assert compare([A], [A, B], own).equal, "B is below its class's threshold"
    assert not compare([B], [A, B], own).equal
