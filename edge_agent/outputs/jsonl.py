"""Detections as JSON lines in a file, for whatever reads them on the device."""

from __future__ import annotations

import json
from contextlib import suppress
from errno import ENOSPC
from io import SEEK_END, FileIO
from os import strerror
from pathlib import Path

from edge_agent.errors import OutputError
from edge_agent.outputs.record import record
from edge_agent.results import FrameResult


class JsonlSink:
    """Sink `jsonl`: a line per frame with what was served, written at once.

    At `rotate_bytes` the file becomes `<name>.1`, that one `<name>.2`, up to `keep_files`.
    A file that cannot be written is opened again with the next frame.
    """

    name = "jsonl"

    def __init__(
        self, path: Path, rotate_bytes: int = 64 * 1024 * 1024, keep_files: int = 3
    ) -> None:
        self._path, self._rotate_bytes, self._keep_files = path, rotate_bytes, keep_files
        self._file: FileIO | None = None

    def take(self, result: FrameResult) -> None:
        """Append the result. Raises OutputError where the file cannot be written."""
        line = json.dumps(record(result), separators=(",", ":"), allow_nan=False) + "\n"
        try:
            self._append(self._file or self._open(), line.encode())
        except OSError as error:
            self.close()
            raise OutputError(
                f"{self._path} cannot be written: {error.strerror}; make room or change the path"
            ) from error

    def tick(self, now_s: float) -> None:
        """Every line is written already."""

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _append(self, file: FileIO, line: bytes) -> None:
        """Write a whole line or none of it: a full disk must not leave half a line behind."""
        size_bytes = file.seek(0, SEEK_END)
        written = 0
        try:
            written = file.write(line)
        finally:
            if written != len(line):
                with suppress(OSError):
                    file.truncate(size_bytes)
        if written != len(line):
            raise OSError(ENOSPC, strerror(ENOSPC))
        if size_bytes + len(line) >= self._rotate_bytes:
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
