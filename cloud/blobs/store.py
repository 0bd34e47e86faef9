"""The folder of blobs: a file per digest, fanned out by its first two letters.

A file appears under its name only when it is whole, verified and on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cloud.errors import InvalidError, NotFoundError, StorageError, TooLargeError
from cloud.files import sync_directory
from protocol.chunks import CHUNK_BYTES, BlobRef, Chunk, sha256_hex

READ_BYTES = 256 * 1024


class BlobStore:
    """Blobs in one local folder. Safe to use from many threads."""

    def __init__(self, folder: Path, *, blob_bytes_max: int) -> None:
        self._folder = folder
        self._blob_bytes_max = blob_bytes_max
        (folder / "incoming").mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the blob lies or would lie."""
        return self._folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def put(
        self,
        pieces: Iterable[bytes],
        *,
        expected_sha256: str | None = None,
        bytes_max: int | None = None,
    ) -> BlobRef:
        """Store what `pieces` add up to and describe it in chunks of CHUNK_BYTES.

        Raises:
            TooLargeError: it is larger than `bytes_max` or the store's own limit.
            InvalidError: its digest is not `expected_sha256`.
            StorageError: the disk refused.
        """
        limit = min(self._blob_bytes_max, bytes_max or self._blob_bytes_max)
        try:
            descriptor, name = tempfile.mkstemp(dir=self._folder / "incoming")
            temporary = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    describer = _Describer(limit)
                    for piece in pieces:
                        describer.feed(piece)
                        file.write(piece)
                    ref = describer.finish(expected_sha256)
                    file.flush()
                    os.fsync(file.fileno())
                self._publish(temporary, ref.sha256)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            what = "is full" if error.errno == errno.ENOSPC else f"failed: {error.strerror}"
            raise StorageError(
                f"the disk of {self._folder} {what}", "free or add space and try again"
            ) from error
        return ref

    def put_file(self, source: Path) -> BlobRef:
        """Store a copy of the file `source`. Raises as `put` does."""
        return self.put(_read(source))

    def read(self, sha256: str) -> bytes:
        """The whole blob. Raises NotFoundError where there is none."""
        return self._existing(sha256).read_bytes()

    def read_range(self, sha256: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer at the end. Raises NotFoundError."""
        with self._existing(sha256).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def size_bytes(self, sha256: str) -> int:
        """Raises NotFoundError where there is none."""
        return self._existing(sha256).stat().st_size

    def iterate(self, sha256: str, start: int, length: int) -> Iterator[bytes]:
        """The bytes [start, start + length) piece by piece. Raises NotFoundError."""
        with self._existing(sha256).open("rb") as file:
            file.seek(start)
            left = length
            while left > 0 and (piece := file.read(min(READ_BYTES, left))):
                left -= len(piece)
                yield piece

    def _existing(self, sha256: str) -> Path:
        path = self.path(sha256)
        if not path.is_file():
            raise NotFoundError(f"there is no blob {sha256[:12]}", "check the digest")
        return path

    def _publish(self, temporary: Path, sha256: str) -> None:
        final = self.path(sha256)
        if final.is_file():
            return
        if not final.parent.is_dir():
            final.parent.mkdir(exist_ok=True)
            sync_directory(self._folder)
        temporary.replace(final)
        sync_directory(final.parent)


class _Describer:
    """Digest, size and chunk list of bytes that stream past."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256()
        self._size = 0
        self._chunks: list[Chunk] = []
        self._rest = bytearray()

    def feed(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._bytes_max:
            raise TooLargeError(
                f"the body is over {self._bytes_max} bytes", "send less or raise the limit"
            )
        self._digest.update(piece)
        self._rest += piece
        while len(self._rest) >= CHUNK_BYTES:
            self._cut(CHUNK_BYTES)

    def finish(self, expected_sha256: str | None) -> BlobRef:
        if self._rest:
            self._cut(len(self._rest))
        sha256 = self._digest.hexdigest()
        if expected_sha256 not in {None, sha256}:
            raise InvalidError(
                f"{self._size} bytes are not the blob {str(expected_sha256)[:12]}, "
                f"but {sha256[:12]}",
                "send the bytes that the digest names",
            )
        return BlobRef(sha256=sha256, size_bytes=self._size, chunks=tuple(self._chunks))

    def _cut(self, length: int) -> None:
        data = bytes(self._rest[:length])
        del self._rest[:length]
        offset = self._chunks[-1].offset + self._chunks[-1].length if self._chunks else 0
        self._chunks.append(Chunk(offset=offset, length=length, sha256=sha256_hex(data)))


def _read(source: Path) -> Iterator[bytes]:
    with source.open("rb") as file:
        while piece := file.read(READ_BYTES):
            yield piece
