"""A worker's files by their digest, in a folder of bounded size."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

READ_BYTES = 1024 * 1024


class WrongBytesError(Exception):
    """What was fetched is not what its digest names."""


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    digest = hashlib.sha256()  # `hashlib.file_digest` is not in Python 3.10, which Jetsons have
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


class FileCache:
    """Files that tasks name, kept for the next one. One process at a time uses a folder.

    Args:
        bytes_max: above it those go that were not used for the longest; what the task at hand
            needs stays.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder, self._bytes_max = folder, bytes_max
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.glob("*.partial"):
            partial.unlink()

    def get(self, sha256: str, fetch: Callable[[Path], None]) -> Path:
        """The file of that digest, fetched where it is not there or has been spoiled.

        Raises:
            WrongBytesError: other bytes came.
            OSError: the disk refuses.
        """
        path = self._folder / sha256
        if path.is_file() and sha256_of(path) == sha256:
            os.utime(path)
            return path
        partial = self._folder / f"{sha256}.partial"
        try:
            fetch(partial)
            found = sha256_of(partial)
            if found != sha256:
                raise WrongBytesError(f"{found[:12]} came in place of {sha256[:12]}")
            return partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def trim(self, needed: Collection[str]) -> None:
        """Let files go until the folder is within its bound, never those that are needed."""
        found = [(path, path.stat()) for path in self._folder.iterdir() if path.is_file()]
        held_bytes = sum(status.st_size for _, status in found)
        for path, status in sorted(found, key=lambda entry: entry[1].st_mtime_ns):
            if held_bytes <= self._bytes_max:
                return
            if path.name not in needed:
                path.unlink()
                held_bytes -= status.st_size
