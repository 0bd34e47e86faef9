from __future__ import annotations

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
