"""Bytes by digest: whole, verified, bounded, in ranges."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.access.principal import Role
from cloud.blobs import service
from cloud.blobs.schemas import parse_range
from cloud.blobs.store import BlobStore
from cloud.errors import InvalidError, NotFoundError, RangeError, StorageError, TooLargeError
from protocol.chunks import CHUNK_BYTES, describe
from tests.unit.cloud.conftest import Api

DATA = bytes(range(256)) * 1200


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs", blob_bytes_max=1_000_000)


def incoming(store: BlobStore) -> list[Path]:
    return list((store.path("ab").parents[1] / "incoming").iterdir())


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 300_000])
@pytest.mark.parametrize("piece", [1000, CHUNK_BYTES, 400_000])
def test_a_blob_is_described_as_the_protocol_does(store: BlobStore, size: int, piece: int) -> None:
    data = DATA[:size]
    pieces = [data[i : i + piece] for i in range(0, size, piece)]
    ref = store.put(pieces)
    assert ref == describe(data)
    assert store.read(ref.sha256) == data
    assert store.path(ref.sha256).parent.name == ref.sha256[:2]


def test_what_is_not_named_right_is_not_kept(store: BlobStore) -> None:
    with pytest.raises(InvalidError):
        store.put([b"a"], expected_sha256="ab" * 32)
    assert incoming(store) == []


def test_too_much_is_refused_while_it_streams(store: BlobStore) -> None:
    taken = []

    def pieces() -> object:
        for number in range(1000):
            taken.append(number)
            yield b"x" * 100

    with pytest.raises(TooLargeError):
        store.put(pieces(), bytes_max=1000)  # type: ignore[arg-type]
    assert (len(taken), incoming(store)) == (11, [])


def test_a_full_disk_is_an_error_that_says_so(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cloud.blobs.store.os.fsync", full)
    with pytest.raises(StorageError, match="full"):
        store.put([b"a"])
    assert incoming(store) == []
    assert not store.has(hashlib.sha256(b"a").hexdigest())


def test_what_is_not_there_is_not_found(store: BlobStore) -> None:
    with pytest.raises(NotFoundError):
        store.read("ab" * 32)


@given(st.text(max_size=40), st.integers(0, 1000))
def test_any_range_header_is_parsed_or_refused(text: str, size: int) -> None:
    try:
        part = parse_range(f"bytes={text}", size)
    except RangeError:
        return
    if part is not None:
        assert 0 <= part.start < part.start + part.length <= size


@pytest.mark.parametrize(
    ("header", "start", "length"),
    [("bytes=0-9", 0, 10), ("bytes=5-", 5, 95), ("bytes=-10", 90, 10), ("bytes=90-500", 90, 10)],
)
def test_ranges(header: str, start: int, length: int) -> None:
    part = parse_range(header, 100)
    assert part is not None
    assert (part.start, part.length) == (start, length)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=9-3", "bytes=-0"])
def test_ranges_outside_are_refused(header: str) -> None:
    with pytest.raises(RangeError):
        parse_range(header, 100)


def test_blobs_by_the_api(api: Api) -> None:
    with api.hub.database.transaction() as session:
        row = service.add_bytes(session, api.hub.blobs, DATA)
    path = f"/blobs/{row.sha256}"
    http = api.acting(Role.VIEWER)
    whole = http.get(path)
    assert (whole.status_code, whole.content) == (200, DATA)
    part = http.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, DATA[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(DATA)}"
    outside = http.get(path, headers={"Range": f"bytes={len(DATA)}-"})
    assert (outside.status_code, outside.json()["error"]["code"]) == (416, "range_not_satisfiable")
    assert http.get(f"/blobs/{'ab' * 32}").status_code == 404
    assert http.get("/blobs/nonsense").status_code == 422
