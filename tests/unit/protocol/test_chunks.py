from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol import chunks
from protocol.chunks import CHUNK_BYTES, BlobRef
from protocol.errors import ChunkError, DigestError


@given(st.binary(max_size=2000), st.integers(1, 300))
def test_chunks_tile_the_blob_and_verify(data: bytes, size: int) -> None:
    ref = chunks.describe(data, size)
    pieces = [data[c.offset : c.offset + c.length] for c in ref.chunks]
    assert b"".join(pieces) == data
    for index, piece in enumerate(pieces):
        assert chunks.verify_chunk(ref, index, piece) == ref.chunks[index]
    assert chunks.verify_blob(ref.sha256, data) == data


@given(st.binary(min_size=1, max_size=500), st.integers(1, 100), st.data())
def test_a_changed_chunk_is_refused(data: bytes, size: int, draw: st.DataObject) -> None:
    ref = chunks.describe(data, size)
    index = draw.draw(st.integers(0, len(ref.chunks) - 1))
    chunk = ref.chunks[index]
    piece = bytearray(data[chunk.offset : chunk.offset + chunk.length])
    piece[draw.draw(st.integers(0, len(piece) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    with pytest.raises(DigestError):
        chunks.verify_chunk(ref, index, bytes(piece))
    with pytest.raises(DigestError):
        chunks.verify_chunk(ref, index, bytes(piece) + b"x")


@given(st.sets(st.integers(0, 400)))
def test_ranges_and_indexes_are_the_same_thing(indexes: set[int]) -> None:
    assert chunks.from_ranges(chunks.to_ranges(indexes)) == indexes


@given(st.binary(max_size=300), st.sets(st.integers(0, 40)))
def test_missing_is_what_is_not_held(data: bytes, held: set[int]) -> None:
    ref = chunks.describe(data, 10)
    wanted = chunks.from_ranges(chunks.missing(ref, held))
    assert wanted == set(range(len(ref.chunks))) - held


@pytest.mark.parametrize("ranges", [[(-1, 2)], [(3, 3)], [(5, 2)], [(0, 70_000)]])
def test_hostile_ranges_are_refused(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ChunkError):
        chunks.from_ranges(ranges)


def test_an_index_that_is_not_there_is_refused() -> None:
    ref = chunks.describe(b"abc", 2)
    for index in (-1, 2):
        with pytest.raises(ChunkError):
            chunks.verify_chunk(ref, index, b"c")


@pytest.mark.parametrize("offsets", [(0, 3), (1, 2), (0, 0)])
def test_a_description_with_a_gap_or_an_overlap_is_refused(offsets: tuple[int, int]) -> None:
    parts = [{"offset": o, "length": 2, "sha256": "0" * 64} for o in offsets]
    with pytest.raises(ValidationError):
        BlobRef.model_validate({"sha256": "0" * 64, "size_bytes": 4, "chunks": parts})


@pytest.mark.parametrize("size", [0, CHUNK_BYTES + 1])
def test_a_chunk_has_a_size_and_a_bound(size: int) -> None:
    with pytest.raises(ChunkError, match="a chunk has 1 to"):
        chunks.describe(b"abc", size)


def test_a_chunk_is_no_larger_than_one_that_may_be_held_in_memory() -> None:
    for length in (CHUNK_BYTES, CHUNK_BYTES + 1, 2 * 1024**3):
        part = {"offset": 0, "length": length, "sha256": "0" * 64}
        ref = {"sha256": "0" * 64, "size_bytes": length, "chunks": [part]}
        if length == CHUNK_BYTES:
            assert BlobRef.model_validate(ref).size_bytes == CHUNK_BYTES
        else:
            with pytest.raises(ValidationError, match="less than or equal"):
                BlobRef.model_validate(ref)
