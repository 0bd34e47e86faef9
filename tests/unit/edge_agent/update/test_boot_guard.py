"""No bundle kills the agent for ever, and none that may serve is left out."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.store import Store
from edge_agent.update.boot_guard import (
    OTHERS_MAX,
    BootCount,
    BootGuard,
    admit,
    boot_name,
    charged,
)
from edge_agent.update.states import Committed, UpdateRecord, committed_name
from protocol.states import ExecutionState
from tests.unit.edge_agent.update.updater_rig import wish

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
MAX = 3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    opened.open()
    yield opened
    opened.close()


def commit(store: Store, digest: str, previous: str | None = None) -> None:
    store.save(committed_name("slot"), Committed(digest=digest, previous_digest=previous))


def committed(store: Store) -> Committed:
    found = store.load(committed_name("slot"), Committed)
    assert found is not None
    return found


def counted(store: Store) -> BootCount | None:
    return store.load(boot_name("slot"), BootCount)


def start(store: Store, broken: frozenset[str] = frozenset()) -> str | None:
    """A start of the agent as `boot` does it: what it serves; what is broken cannot load."""
    guard = BootGuard("slot", store, MAX)
    served = committed(store)
    for digest in (served.digest, served.previous_digest):
        if digest is None or not guard.enter(digest):
            continue
        if digest not in broken:
            return digest
        guard.withdraw()
    return None


def stable(store: Store) -> None:
    BootGuard("slot", store, MAX).stable()


@given(
    count=st.none()
    | st.builds(
        BootCount,
        digest=st.sampled_from([A, B]),
        starts=st.integers(0, 10),
        others=st.dictionaries(st.sampled_from([A, B, C]), st.integers(0, 10)),
    ),
    digest=st.sampled_from([A, B]),
    starts_max=st.integers(1, 5),
)
def test_a_bundle_has_its_starts_and_no_more(
    count: BootCount | None, digest: str, starts_max: int
) -> None:
    after, admitted = admit(count, digest, starts_max)
    known = 0 if count is None else count.of(digest)
    assert admitted is (known < starts_max)
    assert after.of(digest) == known + admitted
    again, _ = admit(after, digest, starts_max)
    assert again.of(digest) <= max(known, starts_max)
    others = {A, B, C} - {digest}
    assert [after.of(d) for d in others] == [0 if count is None else count.of(d) for d in others]


def test_a_start_is_counted_before_the_bundle_is_loaded(store: Store) -> None:
    commit(store, A)
    guard = BootGuard("slot", store, MAX)
    assert guard.enter(A)
    assert counted(store) == BootCount(digest=A, starts=1)


def test_a_bundle_that_kills_the_agent_gives_way_to_the_one_before(store: Store) -> None:
    commit(store, A, B)
    assert [start(store) for _ in range(MAX + 1)] == [A] * MAX + [B]
    assert (committed(store).digest, committed(store).previous_digest) == (B, A)
    stable(store)
    assert [start(store), start(store)] == [B, B], "a boot never begins with the bad one again"


def test_the_starts_of_one_are_known_when_another_was_started_since(store: Store) -> None:
    commit(store, A, B)
    assert [start(store) for _ in range(2 * MAX + 1)] == [A] * MAX + [B] * MAX + [None]
    stable(store)
    assert start(store) == B


def test_of_how_many_the_starts_are_known_is_bounded(store: Store) -> None:
    commit(store, A)
    guard = BootGuard("slot", store, MAX)
    for number in range(3 * OTHERS_MAX):
        guard.enter(f"{number:064x}")
    count = counted(store)
    assert count is not None
    assert len(count.others) == OTHERS_MAX
    assert guard.starts(f"{3 * OTHERS_MAX - 2:064x}") == 1


def test_a_count_of_an_older_agent_counts_on(store: Store) -> None:
    commit(store, A, B)
    text = f'{{"version":1,"digest":"{A}","starts":{MAX}}}'
    (store.state / f"{boot_name('slot')}.json").write_text(text)
    assert start(store) == B
    assert counted(store) == BootCount(digest=B, starts=1, others={A: MAX})


def test_a_bundle_that_was_stable_begins_anew(store: Store) -> None:
    commit(store, A, B)
    for _ in range(5):
        assert [start(store) for _ in range(MAX)] == [A] * MAX
        stable(store)
        assert counted(store) is None


def test_a_start_that_ended_as_it_was_asked_to_does_not_count(store: Store) -> None:
    commit(store, A, B)
    for _ in range(3 * MAX):
        guard = BootGuard("slot", store, MAX)
        assert guard.enter(A)
        guard.asked_to_stop()
    assert counted(store) is None
    assert [start(store) for _ in range(MAX)] == [A] * MAX
    assert (committed(store).digest, committed(store).why) == (A, "")


def test_stops_between_kills_hide_no_loop(store: Store) -> None:
    commit(store, A, B)
    for _ in range(MAX):
        assert start(store) == A
        guard = BootGuard("slot", store, MAX)
        if guard.enter(A):
            guard.asked_to_stop()
    assert start(store) == B


def test_a_stop_after_it_was_stable_brings_no_count_back(store: Store) -> None:
    commit(store, A, B)
    start(store)
    guard = BootGuard("slot", store, MAX)
    guard.enter(A)
    guard.stable()
    guard.asked_to_stop()
    assert counted(store) is None


def test_who_takes_over_says_why(store: Store) -> None:
    commit(store, A, B)
    for _ in range(MAX + 1):
        start(store)
    assert committed(store).why == f"{A[:12]} ended the agent at {MAX} starts in a row"
    assert not committed(store).by_hand


def test_one_that_takes_over_and_cannot_be_loaded_is_not_committed(store: Store) -> None:
    commit(store, A, B)
    assert [start(store, frozenset({B})) for _ in range(MAX + 1)] == [A] * MAX + [None]
    assert (committed(store).digest, committed(store).previous_digest) == (A, B)


def test_an_only_bundle_rests_until_the_agent_has_lived(store: Store) -> None:
    commit(store, A)
    assert [start(store) for _ in range(MAX + 2)] == [A] * MAX + [None, None]
    stable(store)
    assert start(store) == A
    assert committed(store).digest == A


def test_what_cannot_be_loaded_does_not_hide_a_loop(store: Store) -> None:
    """The preferred one raises at each start; the one before it kills the agent."""
    commit(store, A, B)
    served = [start(store, frozenset({A})) for _ in range(MAX + 2)]
    assert served == [B] * MAX + [None, None]


def test_a_candidate_that_was_never_committed_leaves_the_committed_alone(store: Store) -> None:
    """In COMMITTING the candidate is preferred while the incumbent is still on record."""
    commit(store, A, B)
    for _ in range(MAX):
        assert BootGuard("slot", store, MAX).enter(C)
    guard = BootGuard("slot", store, MAX)
    assert not guard.enter(C)
    assert guard.enter(A)
    assert (committed(store).digest, committed(store).previous_digest) == (A, B)


def test_a_full_disk_blinds_no_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, A, B)

    def refuse(*_args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store, "save", refuse)
    monkeypatch.setattr(store, "remove", refuse)
    assert [start(store) for _ in range(MAX + 2)] == [A] * (MAX + 2)
    stable(store)


@pytest.mark.parametrize("text", ['{"version":9,"digest":"x","starts":99}', "{", ""])
def test_a_count_that_cannot_be_read_is_none(store: Store, text: str) -> None:
    commit(store, A, B)
    (store.state / f"{boot_name('slot')}.json").write_text(text)
    assert start(store) == A
    assert counted(store) == BootCount(digest=A, starts=1)


Happening = st.sampled_from(["killed", "killed", "killed", "stable", "new"])


@given(happenings=st.lists(Happening, max_size=25), alone=st.booleans())
@settings(deadline=None, max_examples=60)
def test_whatever_happens_none_has_more_starts_in_a_row(happenings: list[str], alone: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.open()
        try:
            _live(store, happenings, alone)
        finally:
            store.close()


def _live(store: Store, happenings: list[str], alone: bool) -> None:
    commit(store, A, None if alone else B)
    starts, letters = Counter[str](), iter("cdefghijklmnopqrstuvwxyz0")
    for happening in happenings:
        if happening == "new":
            commit(store, next(letters) * 64, committed(store).digest)
        serving = start(store)
        if serving is None:
            both = (committed(store).digest, committed(store).previous_digest)
            assert {starts[digest] for digest in both if digest} == {MAX}
        else:
            starts[serving] += 1
            assert starts[serving] <= MAX
        if happening == "stable":
            stable(store)
            starts.clear()


@pytest.mark.parametrize("state", list(ExecutionState))
def test_a_death_under_a_candidate_is_not_the_incumbents(
    store: Store, state: ExecutionState
) -> None:
    """Two deaths of its own and one of a candidate's had brought an older model back."""
    commit(store, A, B)
    record = UpdateRecord(slot="slot", desired=wish("c"), state=state)
    for _ in range(MAX - 1):
        assert start(store) == A
    BootGuard("slot", store, MAX).charge(record)
    count = counted(store)
    assert count == BootCount(digest=A, starts=1 if record.holds_candidate else 2)
    BootGuard("slot", store, MAX).charge(None)
    assert counted(store) == count
    both = BootCount(digest=A, starts=1, others={B: 2})
    died = charged(both, record)
    assert died is not None
    assert (died.of(A), died.of(B)) == (0 if record.holds_candidate else 1, 2)
    assert charged(None, record) is None
    once = BootCount(digest=A, starts=1)
    assert charged(once, record) == (None if record.holds_candidate else once)
