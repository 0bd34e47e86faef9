"""A slot's attempts: bounded in number and bytes, each kept once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import Limits
from edge_agent.store import STATE_BYTES_MAX, Store
from edge_agent.update.history import (
    HISTORY_BYTES_MAX,
    History,
    added,
    hear,
    heard,
    history_name,
    history_of,
    past,
    remember,
    turn_number,
)
from edge_agent.update.states import Committed, Passage, UpdateRecord, committed_name, opened
from edge_agent.update.turned import Turned
from protocol.messages import SlotDesired
from protocol.states import ExecutionState


def record(number: int = 1, passages: int = 2, reason: str = "") -> UpdateRecord:
    desired = SlotDesired(
        bundle_digest="c" * 64, manifest_bytes=1, model="tiny", version=3, rollout_id="r", attempt=1
    )
    made = opened("tiny", desired, None, number - 1, 5.0)
    way = tuple(
        Passage(number=number + n, state=ExecutionState.PROVING, at=5.0 + n, reason=reason)
        for n in range(passages)
    )
    return made.model_copy(update={"passages": way, "figures": {"golden_frames": 3.0}})


def test_it_keeps_the_way_and_the_figures(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.open()
    remember(store, "tiny", record(), Limits())
    remember(store, "tiny", record(number=7), Limits())
    kept = store.load(history_name("tiny"), History)
    assert kept is not None
    assert [a.passages[0].number for a in kept.attempts] == [1, 7]
    assert kept.attempts[0].figures == {"golden_frames": 3.0}
    assert (kept.attempts[0].model, kept.attempts[0].model_version) == ("tiny", 3)


def test_the_same_passage_is_kept_once() -> None:
    history = added(History(), past(record()), 50)
    longer = past(record(passages=4))
    assert added(history, longer, 50).attempts == (longer,)


def test_what_a_disk_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "data")
    store.open()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", refuse)
    assert not remember(store, "tiny", record(), Limits())
    assert store.load(history_name("tiny"), History) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 2048), st.integers(1, 60))
def test_it_can_always_be_read_again(
    count: int, passages: int, chars: int, attempts_max: int
) -> None:
    history = History()
    for index in range(count):
        long = record(1 + index * passages, passages, "\x00" * chars)
        history = added(history, past(long), attempts_max)
    size = len(history.model_dump_json())
    assert size < HISTORY_BYTES_MAX + 1000 < STATE_BYTES_MAX
    assert 1 <= len(history.attempts) <= attempts_max
    assert history.attempts[-1].passages[0].number == 1 + (count - 1) * passages


def test_what_a_person_left_stays_left(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.open()
    remember(store, "tiny", record(), Limits())
    remember(store, "tiny", record(number=7), Limits())
    turns = tuple(turn(number, left) for number, left in ((4, "a"), (5, "c")))
    store.save(committed_name("tiny"), Committed(digest="b" * 64, untold=turns))
    assert hear("tiny", store)
    remember(store, "tiny", record(number=7), Limits())  # as each start says again
    kept = store.load(history_name("tiny"), History)
    assert kept is not None
    assert [attempt.left for attempt in kept.attempts] == [False, True]
    assert kept.turned == 5
    remember(store, "tiny", record(number=9).model_copy(update={"left": True}), Limits())
    kept = store.load(history_name("tiny"), History)
    assert kept is not None
    assert [attempt.left for attempt in kept.attempts] == [False, True, True]


def turn(number: int, left: str, serves: str = "b", *, by_hand: bool = True) -> Turned:
    return Turned(
        number=number, at=1.0, alert="a", text="", serves=serves * 64, left=left * 64,
        by_hand=by_hand,
    )  # fmt: skip


def test_what_the_file_lacks_counts_already(tmp_path: Path) -> None:
    """And an attempt that comes later is none that a person left then."""
    store = Store(tmp_path / "data")
    store.open()
    remember(store, "tiny", record(), Limits())
    store.save(committed_name("tiny"), Committed(digest="b" * 64, untold=(turn(5, "c"),)))
    kept = store.load(history_name("tiny"), History)
    assert kept is not None and not kept.attempts[0].left
    known = history_of("tiny", store)
    assert known is not None and known.attempts[0].left
    remember(store, "tiny", record(number=7), Limits())
    hear("tiny", store)
    kept = store.load(history_name("tiny"), History)
    assert kept is not None
    assert [attempt.left for attempt in kept.attempts] == [True, False]


def test_each_turn_is_heard_once() -> None:
    history = added(History(), past(record()), 50)
    left = heard(history, (turn(5, "c"),))
    assert left is not None and left.attempts[0].left
    again = heard(left, (turn(6, "b", "c"),))
    assert again is not None and not again.attempts[0].left, "a person wants it again"
    assert heard(again, (turn(5, "c"), turn(6, "b", "c"))) == again
    assert heard(None, ()) is None
    by_itself = heard(history, (turn(5, "c", by_hand=False),))
    assert by_itself is not None and not by_itself.attempts[0].left


def test_a_turn_comes_after_the_last_whatever_the_clock_says(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.open()
    assert turn_number("tiny", store, -5.0) == 1
    assert turn_number("tiny", store, 1.7e9) == 1_700_000_000
    store.save(history_name("tiny"), History(turned=1_700_000_000))
    assert turn_number("tiny", store, 5.0) == 1_700_000_001
    store.save(
        committed_name("tiny"), Committed(digest="b" * 64, untold=(turn(2_000_000_000, "c"),))
    )
    assert turn_number("tiny", store, 1.7e9) == 2_000_000_001
