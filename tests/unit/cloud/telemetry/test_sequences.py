"""The cursor: each sequence fresh exactly once, in any order, with any repetition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.telemetry.sequences import Cursor, Verdict, accept

RANGES_MAX = 64

numbers = st.integers(1, 40)
closed_ranges = st.tuples(numbers, st.integers(0, 8)).map(lambda r: (r[0], r[0] + r[1]))


def contiguous(seen: set[int]) -> int:
    """The reference: count up while it is there."""
    number = 0
    while number + 1 in seen:
        number += 1
    return number


@given(st.lists(numbers, max_size=120))
def test_each_sequence_is_fresh_exactly_once(arrivals: list[int]) -> None:
    cursor, fresh, seen = Cursor(), [], set()
    for number in arrivals:
        cursor, verdict = accept(cursor, number, number, ranges_max=RANGES_MAX)
        seen.add(number)
        fresh += [number] * (verdict is Verdict.FRESH)
        assert cursor.contiguous == contiguous(seen)
    assert sorted(fresh) == sorted(set(arrivals))


@given(st.lists(closed_ranges, max_size=60))
def test_ranges_and_numbers_account_alike(arrivals: list[tuple[int, int]]) -> None:
    cursor, seen = Cursor(), set[int]()
    for first, last in arrivals:
        whole = set(range(first, last + 1))
        cursor, verdict = accept(cursor, first, last, ranges_max=RANGES_MAX)
        assert (verdict is Verdict.FRESH) == (not whole <= seen)
        seen |= whole
        assert cursor.contiguous == contiguous(seen)
        covered = {n for a, b in cursor.ahead for n in range(a, b + 1)}
        assert covered == {n for n in seen if n > cursor.contiguous}


@given(st.lists(closed_ranges, max_size=60))
def test_ranges_ahead_are_sorted_and_apart(arrivals: list[tuple[int, int]]) -> None:
    cursor = Cursor()
    for first, last in arrivals:
        cursor, _ = accept(cursor, first, last, ranges_max=RANGES_MAX)
    edges = [cursor.contiguous, *(edge for pair in cursor.ahead for edge in pair)]
    assert edges == sorted(edges)
    for (_, end), (start, _) in zip(cursor.ahead, cursor.ahead[1:], strict=False):
        assert start > end + 1
    assert not cursor.ahead or cursor.ahead[0][0] > cursor.contiguous + 1


@given(st.permutations(range(1, 31)), st.integers(1, 3))
def test_at_the_bound_nothing_is_lost_once_it_comes_again(order: list[int], bound: int) -> None:
    cursor, left = Cursor(), list(order)
    fresh: list[int] = []
    for _ in range(len(order)):
        again: list[int] = []
        for number in left:
            cursor, verdict = accept(cursor, number, number, ranges_max=bound)
            assert len(cursor.ahead) <= bound
            (again if verdict is Verdict.TOO_FAR else fresh).append(number)
        left = again
    assert (sorted(fresh), cursor.contiguous) == (sorted(order), 30)


@pytest.mark.parametrize(("first", "last"), [(0, 1), (-1, 3), (3, 2)])
def test_no_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        accept(Cursor(), first, last, ranges_max=RANGES_MAX)
