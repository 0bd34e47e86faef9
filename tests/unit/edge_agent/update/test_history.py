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
    history_name,
    leave,
    past,
    remember,
)
from edge_agent.update.states import Passage, UpdateRecord, opened
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
    leave(store, "tiny", "a" * 64)
    leave(store, "tiny", "c" * 64)
    remember(store, "tiny", record(number=7), Limits())  # as each start says again
    kept = store.load(history_name("tiny"), History)
    assert kept is not None
    assert [attempt.left for attempt in kept.attempts] == [False, True]
    remember(store, "tiny", record(number=9).model_copy(update={"left": True}), Limits())
    kept = store.load(history_name("tiny"), History)
    assert kept is not None
    assert kept.attempts[-1].left
