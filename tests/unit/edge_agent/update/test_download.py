"""A download ends whole whatever is lost, spoilt or repeated on the way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.link.http import HttpError, Span
from edge_agent.update.download import Ask, Download, Timing
from edge_agent.update.fetch import ChunkRead, Fetch, FileBlob, ManifestBlob, Transport, runs
from protocol.chunks import CHUNK_BYTES, BlobRef, describe, from_ranges
from protocol.messages import BlobWant

TIMING = Timing(stall_s=5, http_after_s=20)
SHA = "a" * 64


@given(
    chunks=st.integers(1, 60),
    loss=st.floats(0, 0.9),
    seed=st.integers(0, 1000),
    held=st.sets(st.integers(0, 59)),
)
def test_lost_chunks_are_asked_for_until_all_are_here(
    chunks: int, loss: float, seed: int, held: set[int]
) -> None:
    rng = random.Random(seed)
    download = Download.begin({SHA: chunks}, {SHA: held}, 0.0)
    now, asked_for = 0.0, 0
    while not download.complete:
        assert now < 100_000, "it never ends"
        ask = download.ask(now, TIMING, connected=True)
        if ask is Ask.HTTP:
            download.http_tried(now)  # closed here
        elif ask is Ask.WANTS:
            wanted = from_ranges(download.ask_again(now)[0].ranges)
            assert wanted == download.lacking[SHA]
            assert not wanted & held
            asked_for += 1
            for index in wanted:
                if rng.random() >= loss and download.lacks(SHA, index):
                    download.accept(SHA, index, now)
        now += 1.0
    assert asked_for >= (1 if set(range(chunks)) - held else 0)


def test_it_asks_at_once_then_only_when_nothing_moves() -> None:
    download = Download.begin({SHA: 3}, {}, 0.0)
    assert download.ask(0.0, TIMING, connected=True) is Ask.WANTS
    download.ask_again(0.0)
    download.accept(SHA, 0, 4.0)
    assert download.ask(5.0, TIMING, connected=True) is Ask.NOTHING
    assert download.ask(9.0, TIMING, connected=True) is Ask.WANTS


def test_http_is_tried_after_a_long_stall_and_not_hammered() -> None:
    download = Download.begin({SHA: 3}, {}, 0.0)
    assert download.ask(19.9, TIMING, connected=False) is Ask.NOTHING
    assert download.ask(20.0, TIMING, connected=False) is Ask.HTTP
    download.http_tried(20.0)
    assert download.ask(30.0, TIMING, connected=False) is Ask.NOTHING
    assert download.ask(40.0, TIMING, connected=False) is Ask.HTTP


def test_a_new_session_asks_at_once() -> None:
    download = Download.begin({SHA: 3}, {}, 0.0)
    download.ask_again(0.0)
    download.link_restored()
    assert download.ask(0.1, TIMING, connected=True) is Ask.WANTS


def test_more_blobs_than_a_message_holds_are_asked_for_as_soon_as_the_first_are_here() -> None:
    names = [f"{number:064x}" for number in range(100)]
    download = Download.begin(dict.fromkeys(names, 1), {}, 0.0)
    first = download.ask_again(0.0)
    assert len(first) == 64
    for want in first:
        download.accept(want.sha256, 0, 0.1)
    assert download.ask(0.1, TIMING, connected=True) is Ask.WANTS
    assert len(download.ask_again(0.1)) == 36


class Wire:
    """Both ways to a hub that holds one blob; each can be closed or spoilt."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[BlobWant] = []
        self.read: list[ChunkRead] = []
        self.heard: set[str] = set()
        self.http_open = True

    def transport(self, *, connected: bool) -> Transport:
        def read_http(spans: Sequence[Span], take: Callable[[int, bytes], None], _: Event) -> None:
            if not self.http_open:
                raise HttpError("closed")
            for number, span in enumerate(spans):
                for at in range(span.start, span.start + span.length, 50_000):
                    end = min(at + 50_000, span.start + span.length)
                    take(number, self.data[at:end])

        def want(blobs: tuple[BlobWant, ...]) -> bool:
            self.asked += blobs
            return True

        return Transport(
            connected=lambda: connected,
            want=want,
            listen=self.heard.add,
            unlisten=self.heard.discard,
            read_http=read_http,
            submit=_at_once,
            deliver=self.read.append,
        )


def _at_once(job: Callable[[], None]) -> None:
    job()


def blob_of(chunks: int) -> tuple[bytes, BlobRef]:
    data = random.Random(chunks).randbytes(chunks * CHUNK_BYTES - 1000)
    return data, describe(data)


def piece(data: bytes, ref: BlobRef, index: int) -> bytes:
    chunk = ref.chunks[index]
    return data[chunk.offset : chunk.offset + chunk.length]


def test_a_wrong_chunk_is_counted_and_stays_lacking(tmp_path: Path) -> None:
    data, ref = blob_of(3)
    blob, counters = FileBlob(ref, tmp_path / "f"), Counter[str]()
    wire = Wire(data)
    fetch = Fetch(
        {ref.sha256: blob},
        {},
        transport=wire.transport(connected=True),
        timing=TIMING,
        counters=counters,
        now=0.0,
    )
    fetch.take(ref.sha256, 0, piece(data, ref, 1), 0.0)
    fetch.take(ref.sha256, 7, b"", 0.0)
    assert counters == {"chunks_wrong": 1}
    for index in range(3):
        assert not fetch.complete
        fetch.take(ref.sha256, index, piece(data, ref, index), 0.0)
    assert fetch.complete
    assert (tmp_path / "f").read_bytes() == data
    assert wire.heard == set()


def test_what_is_on_the_disk_is_found_again_and_torn_chunks_are_not(tmp_path: Path) -> None:
    data, ref = blob_of(4)
    blob = FileBlob(ref, tmp_path / "f")
    for index in (0, 2, 3):
        blob.write(index, piece(data, ref, index))
    with (tmp_path / "f").open("r+b") as file:
        file.seek(ref.chunks[2].offset + 5)
        file.write(b"torn")
    assert FileBlob(ref, tmp_path / "f").held() == {0, 3}


def test_http_brings_only_what_is_lacking(tmp_path: Path) -> None:
    data, ref = blob_of(5)
    blob = FileBlob(ref, tmp_path / "f")
    blob.write(1, piece(data, ref, 1))
    wire = Wire(data)
    fetch = Fetch(
        {ref.sha256: blob},
        {ref.sha256: blob.held()},
        transport=wire.transport(connected=False),
        timing=TIMING,
        counters=Counter(),
        now=0.0,
    )
    wire.http_open = False
    fetch.tick(20.0)
    assert wire.read == []
    wire.http_open = True
    fetch.tick(40.0)
    assert [chunk.index for chunk in wire.read] == [0, 2, 3, 4]
    for chunk in wire.read:
        fetch.take(chunk.sha256, chunk.index, chunk.data, 40.0)
    assert fetch.complete and (tmp_path / "f").read_bytes() == data


def test_a_manifest_that_comes_out_wrong_is_fetched_anew() -> None:
    data = b"m" * (CHUNK_BYTES + 10)
    sha256 = describe(data).sha256
    blob, counters = ManifestBlob(sha256, len(data)), Counter[str]()
    fetch = Fetch(
        {sha256: blob},
        {},
        transport=Wire(data).transport(connected=True),
        timing=TIMING,
        counters=counters,
        now=0.0,
    )
    fetch.take(sha256, 0, b"x" * CHUNK_BYTES, 0.0)
    fetch.take(sha256, 1, data[CHUNK_BYTES:], 0.0)
    assert not fetch.complete and counters["chunks_wrong"] == 1
    fetch.take(sha256, 0, data[:CHUNK_BYTES], 0.0)
    fetch.take(sha256, 1, data[CHUNK_BYTES:], 0.0)
    assert fetch.complete and blob.data == data


@pytest.mark.parametrize(
    ("indexes", "groups"),
    [([], []), ([0, 1, 2], [[0, 1], [2]]), ([0, 2, 3], [[0], [2, 3]])],
)
def test_neighbours_share_a_request_up_to_the_bound(
    indexes: list[int], groups: list[list[int]]
) -> None:
    blob = ManifestBlob(SHA, 4 * CHUNK_BYTES)
    assert runs(indexes, blob, 2 * CHUNK_BYTES) == groups
