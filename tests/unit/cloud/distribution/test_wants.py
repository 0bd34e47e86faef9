"""The union of what devices want: each chunk once, until it is sent."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cloud.distribution.wants import REPEATS_GROW_MAX, WantBook

A, B = "aa" * 32, "bb" * 32
wants = st.lists(st.tuples(st.sampled_from([A, B]), st.sets(st.integers(0, 30))), max_size=20)


def drain(book: WantBook, now: float = 0.0) -> list[tuple[str, int]]:
    taken = []
    while (key := book.take(now)) is not None:
        taken.append(key)
    return taken


@given(wants)
def test_the_union_is_taken_once(asked: list[tuple[str, set[int]]]) -> None:
    book = WantBook(chunks_max=1000)
    for sha256, indexes in asked:
        assert book.add(sha256, indexes, 0.0) == 0
    taken = drain(book)
    assert len(taken) == len(set(taken))
    assert set(taken) == {(sha256, i) for sha256, indexes in asked for i in indexes}


@given(wants, wants)
def test_what_was_taken_can_be_asked_for_again(
    first: list[tuple[str, set[int]]], second: list[tuple[str, set[int]]]
) -> None:
    book = WantBook(chunks_max=1000)
    for sha256, indexes in first:
        book.add(sha256, indexes, 0.0)
    drain(book)
    for sha256, indexes in second:
        book.add(sha256, indexes, 0.0)
    assert set(drain(book)) == {(sha256, i) for sha256, indexes in second for i in indexes}


@given(wants, st.integers(1, 20))
def test_the_book_is_bounded_and_says_what_it_left_out(
    asked: list[tuple[str, set[int]]], bound: int
) -> None:
    book = WantBook(chunks_max=bound)
    left_out = sum(book.add(sha256, indexes, 0.0) for sha256, indexes in asked)
    wanted = {(sha256, i) for sha256, indexes in asked for i in indexes}
    assert len(book) == min(bound, len(wanted))
    assert (left_out > 0) == (len(wanted) > bound)


def test_a_late_joiner_gets_what_is_still_to_come_once() -> None:
    book = WantBook(chunks_max=100)
    book.add(A, range(4), 0.0)
    assert [book.take(0.0), book.take(0.0)] == [(A, 0), (A, 1)]
    book.add(A, range(4), 0.0)
    assert drain(book) == [(A, 2), (A, 3), (A, 0), (A, 1)]


def test_who_comes_late_shares_the_next_sending() -> None:
    book = WantBook(chunks_max=100, repeat_s=1.0)
    book.add(A, [0, 1], 10.0)
    assert drain(book, 10.0) == [(A, 0), (A, 1)]
    for late in (10.1, 10.5, 10.9):
        book.add(A, [0], late)
        assert (drain(book, late), book.next_at()) == ([], 11.0)
    book.add(B, [7], 10.95)
    assert book.next_at() == 0.0 and drain(book, 10.95) == [(B, 7)]
    assert (drain(book, 11.0), len(book), book.next_at()) == ([(A, 0)], 0, math.inf)
    book.add(A, [1], 11.0)
    assert drain(book, 11.0) == [(A, 1)]


def test_what_is_asked_for_on_and_on_rests_longer_and_longer() -> None:
    book = WantBook(chunks_max=100, repeat_s=1.0)
    sent = []
    for tenth in range(200):
        book.add(A, [0], tenth / 10)
        sent += [tenth / 10 for _ in drain(book, tenth / 10)]
    assert sent == [0.0, 1.0, 3.0, 7.0, 11.0, 15.0, 19.0]
    book.add(A, [0], 40.0)
    assert drain(book, 40.0) == [(A, 0)]
    book.add(A, [0], 40.5)
    assert book.next_at() == 41.0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=60),
    st.floats(0.1, 2),
)
def test_a_chunk_is_sent_at_its_pace_and_all_that_is_wanted_is_sent(
    steps: list[tuple[int, float]], repeat_s: float
) -> None:
    book, now = WantBook(chunks_max=100, repeat_s=repeat_s), 0.0
    sent: dict[tuple[str, int], float] = {}
    wanted: set[tuple[str, int]] = set()
    for index, pause in steps:
        now += pause
        book.add(A, [index], now)
        wanted.add((A, index))
        for key in drain(book, now):
            assert now - sent.get(key, -math.inf) >= repeat_s * (1 - 1e-9)
            sent[key] = now
            wanted.discard(key)
    assert len(book) == len(wanted)
    assert set(drain(book, now + REPEATS_GROW_MAX * repeat_s + 1e-6)) == wanted


def test_what_many_want_rests_until_all_of_it_may_have_arrived() -> None:
    book = WantBook(chunks_max=100, repeat_s=1.0, delivery_s=0.001)
    for _ in range(500):
        book.add(A, range(8), 0.0)
    assert len(drain(book, 0.0)) == 8
    book.add(A, [0, 7], 0.5)
    assert drain(book, 3.9) == [(A, 7)]  # the last one had nothing behind it
    assert drain(book, 4.0) == [(A, 0)]
