"""Blobs in chunks: what a blob is made of, what is missing, what to ask for.

A blob is named by its sha256 and described by a list of (offset, length, sha256).
Chunks here are of one size; the description allows any up to it, so that content-defined
chunks need no new format. Who takes a chunk holds all of it in memory, so none may be larger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.errors import ChunkError, DigestError

CHUNK_BYTES = 128 * 1024
CHUNKS_MAX = 65_536

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Chunk(BaseModel):
    """One piece of a blob: `length` bytes at `offset`, with the digest of just these."""

    model_config = ConfigDict(frozen=True)

    offset: int = Field(ge=0)
    length: int = Field(gt=0, le=CHUNK_BYTES)
    sha256: Sha256


class BlobRef(BaseModel):
    """A blob by name: its digest, its size and the chunks that tile it without a gap."""

    model_config = ConfigDict(frozen=True)

    sha256: Sha256
    size_bytes: int = Field(ge=0)
    chunks: tuple[Chunk, ...] = Field(max_length=CHUNKS_MAX)

    @model_validator(mode="after")
    def _tiles(self) -> BlobRef:
        end = 0
        for chunk in self.chunks:
            if chunk.offset != end:
                raise ValueError(f"chunk at {chunk.offset} should begin at {end}")
            end += chunk.length
        if end != self.size_bytes:
            raise ValueError(f"chunks cover {end} bytes of {self.size_bytes}")
        return self


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def describe(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> BlobRef:
    """Cut `data` into chunks of `chunk_bytes` and describe them."""
    if not 0 < chunk_bytes <= CHUNK_BYTES:
        raise ChunkError(f"a chunk has 1 to {CHUNK_BYTES} bytes, not {chunk_bytes}")
    chunks = tuple(
        Chunk(
            offset=offset,
            length=len(data[offset : offset + chunk_bytes]),
            sha256=sha256_hex(data[offset : offset + chunk_bytes]),
        )
        for offset in range(0, len(data), chunk_bytes)
    )
    return BlobRef(sha256=sha256_hex(data), size_bytes=len(data), chunks=chunks)


def verify_chunk(ref: BlobRef, index: int, data: bytes) -> Chunk:
    """Return the chunk that `data` is, or say why it is not.

    Raises:
        ChunkError: the blob has no such chunk.
        DigestError: length or digest differ.
    """
    if not 0 <= index < len(ref.chunks):
        raise ChunkError(f"blob {ref.sha256[:12]} has {len(ref.chunks)} chunks, not number {index}")
    chunk = ref.chunks[index]
    if len(data) != chunk.length or sha256_hex(data) != chunk.sha256:
        raise DigestError(
            f"chunk {index} of blob {ref.sha256[:12]} does not match its digest; ask for it again"
        )
    return chunk


def verify_blob(sha256: str, data: bytes) -> bytes:
    """Return `data` if `sha256` names it. Raises DigestError otherwise."""
    if sha256_hex(data) != sha256:
        raise DigestError(f"{len(data)} bytes are not the blob {sha256[:12]}; fetch it again")
    return data


def to_ranges(indexes: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Sorted half-open ranges [start, end) that hold exactly `indexes`."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(set(indexes)):
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def from_ranges(ranges: Sequence[tuple[int, int]], count_max: int = CHUNKS_MAX) -> set[int]:
    """The indexes in half-open `ranges`.

    Raises:
        ChunkError: a range is empty or negative, or all together are over `count_max` long.
    """
    total = 0
    for start, end in ranges:
        if start < 0 or end <= start:
            raise ChunkError(f"range [{start}, {end}) is not a range of chunks")
        total += end - start
    # Judged before anything is unfolded: a short message can name a great many.
    if total > count_max:
        raise ChunkError(f"ranges name {total} chunks, over {count_max}")
    return {index for start, end in ranges for index in range(start, end)}


def missing(ref: BlobRef, held: Collection[int]) -> tuple[tuple[int, int], ...]:
    """Ranges of the chunks of `ref` that are not in `held`."""
    have = set(held)
    return to_ranges(i for i in range(len(ref.chunks)) if i not in have)
