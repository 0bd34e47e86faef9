"""Requests of people at the device: bounded, taken once, answered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.store import Store
from edge_agent.update.requests import (
    FOLDER,
    Request,
    RequestError,
    answer,
    await_answer,
    leave,
    refusal,
    take,
)

WALL = 1.8e9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "data")
    store.open()
    return store


def request(kind: str = "hold", slot: str = "tiny", **fields: object) -> Request:
    told = {"id": "a" * 32, "kind": kind, "slot": slot, "asked_at": WALL, **fields}
    return Request.model_validate(told)


def put(store: Store, name: str, raw: bytes) -> Path:
    path = store.data_dir / FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    return path


def test_what_is_left_is_taken_once_and_answered(store: Store) -> None:
    assert take(store, ["tiny"], WALL) == []
    asked = request(for_s=60.0)
    leave(store.data_dir, asked)
    assert take(store, ["tiny"], WALL + 1) == [asked]
    assert take(store, ["tiny"], WALL + 1) == []
    answer(store, asked, ok=True, text="held")
    told = await_answer(store.data_dir, asked, 1.0)
    assert (told.ok, told.text) == (True, "held")
    assert list((store.data_dir / FOLDER).iterdir()) == []


def test_all_slots_may_be_asked_at_once(store: Store) -> None:
    for slot in ("a", "b"):
        leave(store.data_dir, request("rollback", slot))
    assert [r.slot for r in take(store, ["a", "b"], WALL)] == ["a", "b"]


@pytest.mark.parametrize("age_s", [-61.0, 61.0, 3.2e7, -3.2e7])
def test_an_old_one_is_refused_with_an_answer(store: Store, age_s: float) -> None:
    asked = request("rollback")
    leave(store.data_dir, asked)
    assert take(store, ["tiny"], WALL + age_s) == []
    told = await_answer(store.data_dir, asked, 1.0)
    assert not told.ok
    assert "ask again" in told.text


def test_a_slot_that_is_not_there_is_named(store: Store) -> None:
    assert "this device has tiny" in refusal(request(slot="other"), ["tiny"], WALL)
    assert refusal(request(), ["tiny"], WALL) == ""


def test_nobody_takes_it(store: Store) -> None:
    asked = request()
    leave(store.data_dir, asked)
    with pytest.raises(RequestError, match="does it hang"):
        await_answer(store.data_dir, asked, 0.3, sleep=lambda _s: None)
    assert take(store, ["tiny"], WALL) == [], "it was withdrawn"


def test_taken_and_never_answered(store: Store) -> None:
    asked = request()
    leave(store.data_dir, asked)
    take(store, ["tiny"], WALL)
    with pytest.raises(RequestError, match="has not answered"):
        await_answer(store.data_dir, asked, 0.3, sleep=lambda _s: None)


def test_the_answer_to_another_is_not_mine(store: Store) -> None:
    answer_folder = store.data_dir / FOLDER
    answer_folder.mkdir()
    answer(store, request(id="b" * 32), ok=True, text="held")
    with pytest.raises(RequestError):
        await_answer(store.data_dir, request(), 0.2, sleep=lambda _s: None)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="agent's user"):
        leave(tmp_path / "none", request())


def test_what_cannot_be_taken_off_the_disk_is_not_carried_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(store.data_dir, request("rollback"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert take(store, ["tiny"], WALL) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_dropped(store: Store, raw: bytes) -> None:
    path = put(store, "hold-tiny.json", raw)
    assert take(store, ["tiny"], WALL) == []
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("hold-tiny.json", request().model_dump_json().encode() + b" " * 9000),
        ("hold-other.json", request().model_dump_json().encode()),
        ("rollback-tiny.json", request().model_dump_json().encode()),
        (
            "hold-tiny.json",
            request().model_dump_json().replace('"version":1', '"version":2').encode(),
        ),
        ("hold-tiny.json", request().model_dump_json().replace("0.0", "1e300").encode()),
        ("hold-tiny.json", b"[" * 8000),
    ],
)
def test_what_is_no_request_is_dropped(store: Store, name: str, raw: bytes) -> None:
    path = put(store, name, raw)
    assert take(store, ["tiny", "other"], WALL) == []
    assert not path.exists()


def test_pipes_links_and_other_names_are_not_read(store: Store, tmp_path: Path) -> None:
    folder = store.data_dir / FOLDER
    folder.mkdir()
    os.mkfifo(folder / "hold-tiny.json")
    target = tmp_path / "target.json"
    target.write_bytes(request("release").model_dump_json().encode())
    (folder / "release-tiny.json").symlink_to(target)
    other = put(store, "notes.txt", b"mine")
    assert take(store, ["tiny"], WALL) == []
    assert target.exists()
    assert other.exists()
    assert sorted(p.name for p in folder.iterdir()) == ["notes.txt"]


def test_a_folder_of_a_requests_name_is_set_aside_once(store: Store) -> None:
    folder = store.data_dir / FOLDER
    (folder / "hold-tiny.json" / "within").mkdir(parents=True)
    asked = request("release")
    leave(store.data_dir, asked)
    assert take(store, ["tiny"], WALL) == [asked]
    (aside,) = folder.iterdir()
    assert aside.name.startswith("aside-hold-tiny.json.")
    assert take(store, ["tiny"], WALL) == []
    leave(store.data_dir, request())
    assert take(store, ["tiny"], WALL) == [request()]


def test_an_answer_that_is_a_folder_is_none(store: Store) -> None:
    leave(store.data_dir, request())
    (store.data_dir / FOLDER / "answer-hold-tiny.json").mkdir()
    with pytest.raises(RequestError):
        await_answer(store.data_dir, request(), 0.2, sleep=lambda _s: None)
