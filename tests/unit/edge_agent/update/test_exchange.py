"""What a slot serves after every restart, and what it goes back to."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.store import Store
from edge_agent.update.exchange import Exchange, committed_after
from edge_agent.update.slot import Slot
from edge_agent.update.states import Committed, committed_name

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
