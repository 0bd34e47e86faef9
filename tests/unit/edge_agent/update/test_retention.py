"""What is needed stays, whatever the need for room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.update.history import History
from edge_agent.update.retention import Held, Needs, freed_bytes, needs, references, to_prune
from edge_agent.update.slot_state import SlotState
from edge_agent.update.states import Committed, UpdateRecord
from protocol.messages import SlotDesired
from protocol.states import ExecutionState
from tests.unit.edge_agent.update.test_standing import attempt

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


@given(
    held=HELD,
    pinned=PINNED,
    proven=st.permutations([str(number) for number in range(7)]).flatmap(
        lambda order: st.integers(0, 7).map(lambda count: tuple(order[:count]))
    ),
    kept_max=st.integers(0, 6),
    needed=st.integers(0, 50),
)
def test_pruning_takes_what_is_worth_least_and_no_more_than_it_must(
    held: list[Held], pinned: set[str], proven: tuple[str, ...], kept_max: int, needed: int
) -> None:
    gone = to_prune(held, Needs(frozenset(pinned), proven), kept_max, needed)
    loose = [bundle.digest for bundle in held if bundle.digest not in pinned]
    order = [digest for digest in loose if digest not in proven]
    order += [digest for digest in reversed(proven) if digest in loose]
    over = max(0, len(loose) - kept_max)
    assert gone == order[: len(gone)], "the oldest of the unproven, then the proven, newest last"
    assert len(gone) >= over
    if len(gone) > over:
        assert freed_bytes(held, gone) >= needed
        assert freed_bytes(held, gone[:-1]) < needed, "one less would not have done"
    elif freed_bytes(held, gone) < needed:
        assert freed_bytes(held, loose) < needed, "more would not have helped"


def test_the_slots_with_an_open_attempt_are_named() -> None:
    states = (ExecutionState.DOWNLOADING, ExecutionState.TIMED_OUT, ExecutionState.PROBATION)
    slots = [SlotState(str(n), None, record(state)) for n, state in enumerate(states)]
    assert needs([*slots, SlotState("empty")]).attempts == {"0", "2"}


def test_what_failed_goes_before_what_is_proven() -> None:
    """Two failed candidates had pushed out the only bundle that could have served later."""
    ends = (ExecutionState.SUCCEEDED, ExecutionState.ROLLED_BACK, ExecutionState.ROLLED_BACK)
    known = History(
        attempts=tuple(attempt(d, e, n) for n, (d, e) in enumerate(zip("xyz", ends, strict=True)))
    )
    state = SlotState("line", Committed(digest=GOOD, previous_digest=OLD), None, known)
    needed = needs([state], [NEW])
    assert needed.pinned == {GOOD, OLD, NEW}
    held = [Held(digest) for digest in ("x", GOOD, "y", NEW, "z", OLD)]
    assert to_prune(held, needed, kept_max=2) == ["y"]
    assert to_prune(held, needed, kept_max=1) == ["y", "z"]


@given(held=HELD, gone=PINNED)
def test_a_file_that_stays_with_another_bundle_frees_nothing(
    held: list[Held], gone: set[str]
) -> None:
    staying = {sha for bundle in held if bundle.digest not in gone for sha in bundle.files}
    every = {sha for bundle in held for sha in bundle.files}
    assert freed_bytes(held, gone) == 10 * len(every - staying)
