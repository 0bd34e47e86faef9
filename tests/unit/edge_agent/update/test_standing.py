"""How bundles stand on a device, and who may serve in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.history import History, PastAttempt, past
from edge_agent.update.slot_state import SlotState
from edge_agent.update.standing import (
    ON_TRIAL,
    Standing,
    choices,
    objection,
    proven,
    standings,
    trial,
    turns,
    was_left,
)
from edge_agent.update.states import Committed, Passage, UpdateRecord, opened
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState
from tests.unit.edge_agent.update.updater_rig import wish

S = ExecutionState
A, B, C, D = (letter * 64 for letter in "abcd")
ALL = (A, B, C, D)


def attempt(digest: str, end: ExecutionState, number: int, *, left: bool = False) -> PastAttempt:
    """An attempt that is over; the slot's numbers go on."""
    desired = wish("c").model_copy(update={"bundle_digest": digest, "attempt": number})
    record = opened("tiny", desired, None, 10 * number, 0.0)
    passages = (*record.passages, Passage(number=10 * number + 2, state=end, at=1.0))
    return past(record.model_copy(update={"state": end, "passages": passages, "left": left}))


def history(*ends: tuple[str, ExecutionState]) -> History:
    return History(attempts=tuple(attempt(d, end, n) for n, (d, end) in enumerate(ends)))


def on_trial(digest: str, previous: str | None, state: ExecutionState) -> UpdateRecord:
    desired = wish("c").model_copy(update={"bundle_digest": digest})
    return UpdateRecord(slot="tiny", desired=desired, state=state, previous_digest=previous)


def test_the_last_word_on_a_bundle_counts_and_some_ends_say_nothing() -> None:
    known = history(
        (A, S.SUCCEEDED), (B, S.SUCCEEDED), (A, S.ROLLED_BACK), (B, S.SUPERSEDED), (C, S.CANCELED)
    )
    state = SlotState("tiny", history=known)
    assert standings(state) == {A: Standing.FAILED, B: Standing.PROVEN}
    assert proven(state) == (B,)
    again = history(*[(A, S.ROLLED_BACK), (A, S.SUCCEEDED)])
    assert proven(SlotState("tiny", history=again)) == (A,)


@pytest.mark.parametrize("end", sorted(TERMINAL_EXECUTION_STATES))
def test_what_a_person_left_is_left_whatever_its_end(end: ExecutionState) -> None:
    attempts = (attempt(A, S.SUCCEEDED, 1), attempt(A, end, 2, left=True))
    assert standings(SlotState("tiny", history=History(attempts=attempts)))[A] is Standing.LEFT


@pytest.mark.parametrize("state", list(S))
def test_on_trial_is_what_was_exchanged_and_is_not_over(state: ExecutionState) -> None:
    expected = B if state in ON_TRIAL else None
    assert trial(on_trial(B, A, state)) == expected
    assert trial(on_trial(B, None, state)) is None, "there is nothing else"
    assert trial(on_trial(B, B, state)) is None, "it got lost, and has served before"


@pytest.mark.parametrize("state", sorted(ON_TRIAL))
def test_a_bundle_on_trial_is_no_choice_even_where_it_succeeded_before(
    state: ExecutionState,
) -> None:
    """Killed in its probation it had served, after the restart, as a last resort."""
    slot = SlotState("tiny", Committed(digest=A), on_trial(B, A, state), history((B, S.SUCCEEDED)))
    assert choices(slot, ALL) == (A,)
    committed = SlotState("tiny", Committed(digest=B, previous_digest=A), on_trial(B, A, state))
    assert choices(committed, ALL) == (A,), "brought back because it got lost, and killed again"


def test_the_order_is_committed_before_proven_failed_left() -> None:
    known = history((C, S.SUCCEEDED), (D, S.SUCCEEDED))
    slot = SlotState("tiny", Committed(digest=A, previous_digest=B), None, known)
    assert choices(slot, ALL) == (A, B, D, C)
    assert choices(slot, (C,)) == (A, B, C), "of the history only what lies on the disk"
    failed = replace(slot, history=history((B, S.ROLLED_BACK), (C, S.SUCCEEDED)))
    assert choices(failed, ALL) == (A, C, B)
    by_hand = Committed(digest=A, previous_digest=B, by_hand=True)
    assert choices(replace(slot, committed=by_hand), ALL) == (A, D, C, B)


def test_what_is_committed_comes_first_whatever_came_before() -> None:
    for end in (S.REJECTED, S.SUCCEEDED):
        known = History(attempts=(attempt(A, end, 1, left=end is S.SUCCEEDED),))
        slot = SlotState("tiny", Committed(digest=A, previous_digest=B), None, known)
        assert choices(slot, ALL) == (A, B)


def test_nothing_doubtful_takes_over_by_itself() -> None:
    known = history((B, S.ROLLED_BACK), (C, S.SUCCEEDED))
    slot = SlotState("tiny", Committed(digest=A, previous_digest=B), None, known)
    assert turns(slot, ALL) == (A, C)
    by_hand = Committed(digest=A, previous_digest=D, by_hand=True)
    assert turns(SlotState("tiny", by_hand, None, known), ALL) == (A, C)
    looped = Committed(digest=A, previous_digest=C, why="it ended the agent")
    assert turns(SlotState("tiny", looped, None, known), ALL) == (A,)


@pytest.mark.parametrize(
    ("last", "objects"), [(S.ROLLED_BACK, True), (S.REJECTED, True), (S.SUCCEEDED, False)]
)
def test_what_did_not_stand_its_last_attempt_is_objected_to(
    last: ExecutionState, objects: bool
) -> None:
    before = Committed(digest=A, previous_digest=C)
    slot = SlotState("tiny", before, None, history((C, S.SUCCEEDED), (C, last), (C, S.CANCELED)))
    name = {C: "tiny v3"}.__getitem__
    assert (f"tiny v3 was {last.value}" in objection(slot, name)) is objects
    assert objection(SlotState("tiny", Committed(digest=A, previous_digest=B)), name) == ""
    assert objection(SlotState("tiny", before), name) == ""
    left = SlotState("tiny", before.model_copy(update={"by_hand": True}))
    assert "somebody left tiny v3 by hand" in objection(left, name)
    looped = before.model_copy(update={"why": "it ended the agent"})
    assert "it ended the agent" in objection(SlotState("tiny", looped), name)


def test_an_attempt_that_was_left_is_known_by_its_key_and_not_by_its_bundle() -> None:
    left = attempt(A, S.CANCELED, 3, left=True)
    known = History(attempts=(left, attempt(B, S.ROLLED_BACK, 4)))
    wanted = wish("c").model_copy(update={"bundle_digest": A, "attempt": 3})
    assert was_left(known, wanted)
    assert not was_left(known, wanted.model_copy(update={"attempt": 5}))
    assert not was_left(known, wanted.model_copy(update={"bundle_digest": B, "attempt": 4}))
    assert not was_left(None, wanted)


ENDS = st.lists(
    st.tuples(
        st.sampled_from(ALL), st.sampled_from(sorted(TERMINAL_EXECUTION_STATES)), st.booleans()
    ),
    max_size=8,
)
COMMITTED = st.none() | st.builds(
    Committed,
    digest=st.sampled_from(ALL),
    previous_digest=st.none() | st.sampled_from(ALL),
    by_hand=st.booleans(),
)
RECORDS = st.none() | st.builds(
    on_trial, st.sampled_from(ALL), st.none() | st.sampled_from(ALL), st.sampled_from(list(S))
)


@given(ends=ENDS, committed=COMMITTED, record=RECORDS, held=st.sets(st.sampled_from(ALL)))
def test_whatever_befell_a_slot(
    ends: list[tuple[str, ExecutionState, bool]],
    committed: Committed | None,
    record: UpdateRecord | None,
    held: set[str],
) -> None:
    attempts = tuple(attempt(d, end, n, left=left) for n, (d, end, left) in enumerate(ends))
    slot = SlotState("tiny", committed, record, History(attempts=attempts))
    found, known = choices(slot, held), standings(slot)
    assert len(set(found)) == len(found)
    assert trial(record) not in found
    assert set(turns(slot, held)) <= set(found)
    if committed is not None and committed.digest != trial(record):
        assert committed.digest in found, "what was committed may always serve"
    doubted = [known.get(d) in (Standing.FAILED, Standing.LEFT) for d in found]
    first = None if committed is None else committed.digest
    doubted = [doubt for d, doubt in zip(found, doubted, strict=True) if d != first]
    assert doubted == sorted(doubted), "nothing doubtful before what is not"
    for digest in found:
        served = {committed.digest, committed.previous_digest} if committed else set()
        attempted = {record.desired.bundle_digest, record.previous_digest} if record else set()
        assert digest in served | attempted or (digest in held and digest in proven(slot))
