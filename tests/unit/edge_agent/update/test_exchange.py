"""What a slot serves after every restart, and what it goes back to."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.store import Store
from edge_agent.update.exchange import Exchange, committed_after, turned_to
from edge_agent.update.slot import Slot
from edge_agent.update.states import Committed, committed_name
from edge_agent.update.turned import UNTOLD_MAX, Turned

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.mark.parametrize(
    ("committed", "digest", "served", "expected"),
    [
        (None, A, None, (A, None)),
        (None, A, B, (A, B)),
        ((B, None), A, B, (A, B)),
        ((B, None), A, None, (A, B)),
        ((B, C), A, C, (A, C)),
        ((A, B), A, None, (A, B)),
        ((A, B), A, A, (A, B)),
        ((A, B), A, C, (A, C)),
    ],
)
def test_the_way_back_is_what_served(
    committed: tuple[str, str | None] | None,
    digest: str,
    served: str | None,
    expected: tuple[str, str | None],
) -> None:
    before = None
    if committed is not None:
        before = Committed(digest=committed[0], previous_digest=committed[1])
    after = committed_after(before, digest, served)
    assert (after.digest, after.previous_digest) == expected
    assert committed_after(after, digest, served) == after, "a kill may make it again"


def test_a_candidate_that_is_left_leaves_what_served_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    exchange = Exchange(Slot("slot"), store)
    store.save(committed_name("slot"), Committed(digest=A, previous_digest=B))
    exchange.settle(A, C)
    found = store.load(committed_name("slot"), Committed)
    assert found is not None
    assert found.digest == C
    store.close()


def word(left: str, serves: str, *, by_hand: bool = False) -> Turned:
    return Turned(number=7, at=1.0, alert="a", text="", serves=serves, left=left, by_hand=by_hand)


def test_what_nobody_heard_of_outlives_what_is_committed_after_it(tmp_path: Path) -> None:
    untold = (word(B, A, by_hand=True),)
    by_hand = turned_to(Committed(digest=B), untold[0])
    assert by_hand == Committed(digest=A, previous_digest=B, by_hand=True, untold=untold)
    assert committed_after(by_hand, C, A).untold == untold
    assert committed_after(by_hand, A, C).untold == untold
    store = Store(tmp_path)
    store.open()
    store.save(committed_name("slot"), by_hand)
    Exchange(Slot("slot"), store).settle(A, C)
    found = store.load(committed_name("slot"), Committed)
    assert found == Committed(digest=C, untold=untold)
    store.close()


def test_what_serves_again_is_committed_as_it_was() -> None:
    known = Committed(digest=A, previous_digest=B, by_hand=True)
    again = word(B, A)
    assert turned_to(known, again, "whole") == known.model_copy(update={"untold": (again,)})
    revoked = turned_to(known, word(A, C), "A is revoked")
    assert (revoked.digest, revoked.previous_digest, revoked.why) == (C, A, "A is revoked")
    assert (revoked.revoked, revoked.by_hand) == (True, False)


def test_what_nobody_takes_is_bounded() -> None:
    committed = Committed(digest=A)
    for number in range(2 * UNTOLD_MAX):
        turn = word(A, B).model_copy(update={"number": number})
        committed = turned_to(committed, turn)
    assert [turn.number for turn in committed.untold] == list(range(UNTOLD_MAX, 2 * UNTOLD_MAX))
