"""State on disk: whole, versioned, locked, and never more than there is room for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edge_agent.store import DiskFullError, StateFile, Store, StoreError, write_atomically


class Note(StateFile):
    version: int = 3
    text: str


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "data")
    store.open()
    return store


def test_what_is_saved_is_loaded(store: Store) -> None:
    assert store.load("note", Note) is None
    store.save("note", Note(text="a"))
    store.save("note", Note(text="b"))
    loaded = store.load("note", Note)
    assert loaded is not None and loaded.text == "b"
    store.remove("note")
    assert store.load("note", Note) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b'{"version": 2, "text": "old"}',
        b'{"version": 4, "text": "new"}',
        b'{"version": 3}',
        b'{"version": 3, "text": "x"}' + b" " * 2_000_000,
        b"[" * 100_000,
    ],
)
def test_what_is_not_understood_is_absent(content: bytes, store: Store) -> None:
    (store.state / "note.json").write_bytes(content)
    assert store.load("note", Note) is None


def test_a_write_that_fails_leaves_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def refuse(_descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_second_agent_is_told_who_holds_the_folder(store: Store) -> None:
    other = Store(store.data_dir)
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        other.open()
    store.close()
    other.open()
    other.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"device\.data_dir"):
        Store(tmp_path / "file" / "data").open()


def test_room_is_required_before_it_is_used(store: Store) -> None:
    store.require_free(1, 0)
    with pytest.raises(DiskFullError) as refused:
        store.require_free(10**18, 5)
    assert refused.value.needed_bytes == 10**18 + 5
    assert str(refused.value.free_bytes) in str(refused.value)


def test_a_folder_a_pipe_or_a_dead_link_in_a_states_place_is_no_state(store: Store) -> None:
    (store.state / "folder.json").mkdir()
    os.mkfifo(store.state / "pipe.json")
    (store.state / "link.json").symlink_to("nowhere")
    (store.state / "loop.json").symlink_to("loop.json")
    for name in ("folder", "pipe", "link", "loop"):
        assert store.load(name, Note) is None


def test_folders_that_were_taken_away_are_made_again(store: Store) -> None:
    """An agent that serves on from memory could keep nothing until somebody started it anew."""
    shutil.rmtree(store.state)
    shutil.rmtree(store.bundles)
    store.save("note", Note(text="a"))
    assert store.load("note", Note) == Note(text="a")
    assert store.bundles.is_dir()
