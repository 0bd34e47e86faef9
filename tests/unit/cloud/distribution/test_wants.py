"""The union of what devices want: each chunk once, until it is sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud.distribution.wants import WantBook

A, B = "aa" * 32, "bb" * 32
wants = st.lists(st.tuples(st.sampled_from([A, B]), st.sets(st.integers(0, 30))), max_size=20)


def drain(book: WantBook) -> list[tuple[str, int]]:
    taken = []
    while (key := book.take()) is not None:
        taken.append(key)
    return taken


@given(wants)
def test_the_union_is_taken_once(asked: list[tuple[str, set[int]]]) -> None:
    book = WantBook(chunks_max=1000)
    for sha256, indexes in asked:
        assert book.add(sha256, indexes) == 0
    taken = drain(book)
    assert len(taken) == len(set(taken))
    assert set(taken) == {(sha256, i) for sha256, indexes in asked for i in indexes}


@given(wants, wants)
def test_what_was_taken_can_be_asked_for_again(
    first: list[tuple[str, set[int]]], second: list[tuple[str, set[int]]]
) -> None:
    book = WantBook(chunks_max=1000)
    for sha256, indexes in first:
        book.add(sha256, indexes)
    drain(book)
    for sha256, indexes in second:
        book.add(sha256, indexes)
    assert set(drain(book)) == {(sha256, i) for sha256, indexes in second for i in indexes}


@given(wants, st.integers(1, 20))
def test_the_book_is_bounded_and_says_what_it_left_out(
    asked: list[tuple[str, set[int]]], bound: int
) -> None:
    book = WantBook(chunks_max=bound)
    left_out = sum(book.add(sha256, indexes) for sha256, indexes in asked)
    wanted = {(sha256, i) for sha256, indexes in asked for i in indexes}
    assert len(book) == min(bound, len(wanted))
    assert (left_out > 0) == (len(wanted) > bound)


def test_a_late_joiner_gets_what_is_still_to_come_once() -> None:
    book = WantBook(chunks_max=100)
    book.add(A, range(4))
    assert [book.take(), book.take()] == [(A, 0), (A, 1)]
    book.add(A, range(4))
    assert drain(book) == [(A, 2), (A, 3), (A, 0), (A, 1)]
