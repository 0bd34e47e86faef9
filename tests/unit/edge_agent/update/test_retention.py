"""What is needed stays, whatever the need for room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.retention import Held, SlotState, freed_bytes, references, to_prune
from edge_agent.update.states import Committed, UpdateRecord
from protocol.messages import SlotDesired
from protocol.states import ExecutionState

OLD, GOOD, NEW = "a" * 64, "b" * 64, "c" * 64
FILES = st.dictionaries(st.sampled_from(["f", "g", "h", "i"]), st.just(10), max_size=3)
HELD = st.lists(FILES, max_size=6).map(
    lambda files: [Held(str(number), each) for number, each in enumerate(files)]
)
PINNED = st.sets(st.integers(0, 6).map(str))


def record(state: ExecutionState) -> UpdateRecord:
    desired = SlotDesired(
        bundle_digest=NEW,
        manifest_bytes=100,
        rollout_id="r",
        attempt=1,
        model="m",
        version=2,
        probation_s=1,
    )
    return UpdateRecord(slot="line", desired=desired, state=state, previous_digest=GOOD)


def test_each_bundle_is_named_with_who_needs_it() -> None:
    line = SlotState(
        "line", Committed(digest=GOOD, previous_digest=OLD), record(ExecutionState.PROVING)
    )
    shelf = SlotState("shelf", Committed(digest=OLD))
    assert references([line, shelf, SlotState("empty")]) == {
        GOOD: ("line: committed", "line: last known good of the attempt"),
        OLD: ("line: committed before", "shelf: committed"),
        NEW: ("line: wanted by the attempt",),
    }


def test_an_attempt_that_ended_needs_nothing() -> None:
    ended = SlotState("line", Committed(digest=GOOD), record(ExecutionState.ROLLED_BACK))
    assert set(references([ended])) == {GOOD}


def test_an_open_attempt_pins_what_it_came_from_without_a_committed_state() -> None:
    open_one = SlotState("line", None, record(ExecutionState.PROBATION))
    assert set(references([open_one])) == {GOOD, NEW}


@given(held=HELD, pinned=PINNED, kept_max=st.integers(0, 6), needed=st.integers(0, 50))
def test_pruning_takes_the_oldest_loose_ones_and_no_more_than_it_must(
    held: list[Held], pinned: set[str], kept_max: int, needed: int
) -> None:
    gone = to_prune(held, pinned, kept_max, needed)
    loose = [bundle.digest for bundle in held if bundle.digest not in pinned]
    over = max(0, len(loose) - kept_max)
    assert gone == loose[: len(gone)], "the oldest loose ones, in order"
    assert len(gone) >= over
    if len(gone) > over:
        assert freed_bytes(held, gone) >= needed
        assert freed_bytes(held, gone[:-1]) < needed, "one less would not have done"
    elif freed_bytes(held, gone) < needed:
        assert freed_bytes(held, loose) < needed, "more would not have helped"


@given(held=HELD, gone=PINNED)
def test_a_file_that_stays_with_another_bundle_frees_nothing(
    held: list[Held], gone: set[str]
) -> None:
    staying = {sha for bundle in held if bundle.digest not in gone for sha in bundle.files}
    every = {sha for bundle in held for sha in bundle.files}
    assert freed_bytes(held, gone) == 10 * len(every - staying)
