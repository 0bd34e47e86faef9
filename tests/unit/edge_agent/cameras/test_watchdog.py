from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cameras.watchdog import Picture, Watchdog


def test_a_picture_that_stands_still_is_frozen_then_reopened() -> None:
    dog = Watchdog(stale_after_s=10, reopen_after_s=60)
    seen = [dog.see(7, None, t) for t in (0, 9.9, 10, 59.9, 60)]
    assert seen == [
        Picture.FRESH,
        Picture.FRESH,
        Picture.FROZEN,
        Picture.FROZEN,
        Picture.REOPEN,
    ]


def test_any_change_makes_it_fresh_and_starts_the_count_anew() -> None:
    dog = Watchdog(stale_after_s=10, reopen_after_s=60)
    dog.see(1, None, 0)
    assert dog.see(1, None, 30) is Picture.FROZEN
    assert dog.see(2, None, 31) is Picture.FRESH
    assert dog.see(2, None, 40) is Picture.FRESH
    assert dog.see(2, None, 41) is Picture.FROZEN


def test_a_clock_that_never_moved_says_nothing_and_one_that_stops_does() -> None:
    dog = Watchdog(stale_after_s=10, reopen_after_s=60)
    assert [dog.see(n, 5.0, n * 20) for n in range(3)] == [Picture.FRESH] * 3
    assert dog.see(4, 6.0, 80) is Picture.FRESH
    assert dog.see(5, 6.0, 90) is Picture.FROZEN
    assert dog.see(6, None, 91) is Picture.FRESH


def test_a_clock_that_jumps_back_moves() -> None:
    dog = Watchdog(stale_after_s=10, reopen_after_s=60)
    assert [dog.see(n, -40.0 * n, n * 9) for n in range(5)] == [Picture.FRESH] * 5


def test_a_source_that_was_opened_again_gets_its_time_and_its_picture_is_still_known() -> None:
    dog = Watchdog(stale_after_s=10, reopen_after_s=60)
    dog.see(7, 100.0, 0)
    assert dog.see(7, 200.0, 60) is Picture.REOPEN
    dog.opened(65)
    assert dog.see(7, 0.0, 66) is Picture.FROZEN
    assert dog.see(7, 40.0, 124) is Picture.FROZEN
    assert dog.see(7, 80.0, 125) is Picture.REOPEN
    dog.opened(130)
    assert dog.see(8, 0.0, 131) is Picture.FRESH


steps = st.lists(st.tuples(st.integers(0, 2), st.floats(0, 20)), min_size=1, max_size=60)


@given(steps)
def test_it_is_fresh_exactly_while_the_last_change_is_younger_than_the_limit(
    steps: list[tuple[int, float]],
) -> None:
    dog, now_s, changed_s, last = Watchdog(10, 60), 0.0, 0.0, None
    for content, after_s in steps:
        now_s += after_s
        changed_s = changed_s if content == last else now_s
        last = content
        unchanged_s = now_s - changed_s
        expected = Picture.FROZEN if unchanged_s >= 10 else Picture.FRESH
        assert dog.see(content, None, now_s) is (Picture.REOPEN if unchanged_s >= 60 else expected)
