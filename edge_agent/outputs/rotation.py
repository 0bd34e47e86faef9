"""A file that grows by whole lines and is put aside when it is large."""

from __future__ import annotations

from contextlib import suppress
from errno import ENOSPC
from io import SEEK_END, FileIO
from os import strerror
from pathlib import Path


class RotatingFile:
    """Appends whole lines, unbuffered.

    At `rotate_bytes` the file becomes `<name>.1`, that one `<name>.2`, up to `keep_files`.
    An empty file begins with `header`.
    """

    def __init__(self, path: Path, rotate_bytes: int, keep_files: int, header: bytes = b"") -> None:
        self._path, self._rotate_bytes, self._keep_files = path, rotate_bytes, keep_files
        self._header = header
        self._file: FileIO | None = None

    def append(self, lines: bytes) -> None:
        """Write all of it or none: a full disk must not leave half a line behind.

        Raises:
            OSError: the disk refused; the file is closed and opened again next time.
        """
        try:
            self._append(self._file or self._open(), lines)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self, file: FileIO, lines: bytes) -> None:
        size_bytes = file.seek(0, SEEK_END)
        data = lines if size_bytes else self._header + lines
        written = 0
        try:
            written = file.write(data)
        finally:
            if written != len(data):
                with suppress(OSError):
                    file.truncate(size_bytes)
        if written != len(data):
            raise OSError(ENOSPC, strerror(ENOSPC))
        if size_bytes + len(data) >= self._rotate_bytes:
            self._rotate()

    def _open(self) -> FileIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        return self._file

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep_files - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        if self._keep_files:
            self._path.replace(self._numbered(1))
        else:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
