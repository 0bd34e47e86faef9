"""What is told once is told once: over kills between any two statements, and full disks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.link import told
from edge_agent.link.outbox import Outbox, OutboxError, Quota
from tests.unit.edge_agent.link.killing import Dying, event

ROOMY = Quota(10**9, 10**9)
STATEMENTS_MAX = 12


class Died(BaseException):
    """The process is gone: nothing of it runs on."""


def die() -> None:
    raise Died


def sequences(outbox: Outbox) -> list[int]:
    return [entry.sequence for entry in outbox.after("events", 0, 1000)]


def test_a_number_is_told_once_and_never_a_lower_one(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", ROOMY)
    assert outbox.told("line") == 0
    assert outbox.append_once("line", 2, "events", event) == 1
    assert outbox.append_once("line", 2, "events", event) is None
    assert outbox.append_once("line", 1, "events", event) is None
    assert outbox.append_once("shelf", 1, "events", event) == 2
    outbox.acknowledge("events", outbox.epoch, 2)
    outbox.close()
    again = Outbox(tmp_path, "d", ROOMY)
    assert (again.told("line"), again.told("shelf")) == (2, 1)
    assert again.append_once("line", 2, "events", event) is None
    assert again.append_once("line", 3, "events", event) == 3


@pytest.mark.parametrize("nth", range(1, STATEMENTS_MAX + 1))
def test_a_kill_between_any_two_statements_tells_all_or_nothing(tmp_path: Path, nth: int) -> None:
    outbox: Any = Outbox(tmp_path, "d", ROOMY)
    outbox.append_once("line", 1, "events", event)
    real, outbox._file.db = outbox._file.db, Dying(outbox._file.db, nth, die)
    try:
        outbox.append_once("line", 2, "events", event)
    except Died:
        assert real.execute("SELECT count(*) FROM entries").fetchone() == (1,)
        assert outbox.told("line") == 1
    real.close()
    again = Outbox(tmp_path, "d", ROOMY)
    again.append_once("line", 2, "events", event)
    assert sequences(again) == [1, 2]
    assert again.told("line") == 2


def test_the_table_above_reaches_every_statement(tmp_path: Path) -> None:
    outbox: Any = Outbox(tmp_path, "d", ROOMY)
    outbox._file.db = counting = Dying(outbox._file.db, 0, die)
    outbox.append_once("line", 1, "events", event)
    assert 8 <= counting.statements <= STATEMENTS_MAX


@pytest.mark.parametrize("nth", [2, 5, 7, 8, 9, 0])
def test_a_killed_process_tells_all_or_nothing(tmp_path: Path, nth: int) -> None:
    command = [sys.executable, "-m", "tests.unit.edge_agent.link.killing", str(tmp_path), "1"]
    ended = subprocess.run([*command, str(nth)], check=False, timeout=60)
    assert ended.returncode == (0 if nth == 0 else -9)
    outbox = Outbox(tmp_path, "d", ROOMY)
    assert sequences(outbox) == ([1] if outbox.told("line") else [])
    outbox.append_once("line", 1, "events", event)
    assert sequences(outbox) == [1]


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.integers(0, 12))),
)
def test_whatever_is_killed_each_number_goes_out_at_most_once_and_rising(
    numbers: list[tuple[str, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        outbox: Any = Outbox(Path(name), "d", ROOMY)
        kept: dict[str, list[int]] = {"a": [], "b": []}
        for key, number, nth in numbers:
            before = outbox.counters()["outbox_events_written"]
            real, outbox._file.db = outbox._file.db, Dying(outbox._file.db, nth, die)
            try:
                outbox.append_once(key, number, "events", event)
            except Died:
                real.close()
                outbox = Outbox(Path(name), "d", ROOMY)
            else:
                outbox._file.db = real
            if outbox.counters()["outbox_events_written"] > before:
                kept[key].append(number)
            assert outbox.told(key) == (kept[key][-1] if kept[key] else 0)
        outbox.close()
        assert all(rising == sorted(set(rising)) for rising in kept.values())


def test_a_refused_number_counts_as_not_told(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "d", ROOMY)
    pages = outbox._file.db.execute("PRAGMA page_count").fetchone()[0]
    outbox._file.db.execute(f"PRAGMA max_page_count = {pages}")
    number = 0
    with pytest.raises(OutboxError, match="make room"):
        for number in range(1, 300):
            outbox.append_once("line", number, "events", event)
    assert outbox.told("line") == number - 1
    outbox._file.db.execute("PRAGMA max_page_count = 100000")
    assert outbox.append_once("line", number, "events", event) == number


def test_an_outbox_of_an_older_agent_goes_on(tmp_path: Path) -> None:
    older = Outbox(tmp_path, "d", ROOMY)
    older.append("events", event)
    older._file.db.execute("DROP TABLE told")
    older.close()
    outbox = Outbox(tmp_path, "d", ROOMY)
    assert (outbox.epoch, sequences(outbox)) == (older.epoch, [1])
    assert outbox.append_once("line", 1, "events", event) == 2


def test_keys_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "KEYS_MAX", 2)
    outbox = Outbox(tmp_path, "d", ROOMY)
    for key in ("a", "b", "a", "c"):
        outbox.append_once(key, outbox.told(key) + 1, "events", event)
    assert [outbox.told(key) for key in "abc"] == [2, 0, 1]
