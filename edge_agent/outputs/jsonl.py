"""Detections as JSON lines in a file, for whatever reads them on the device."""

from __future__ import annotations

import json
from pathlib import Path

from edge_agent.errors import OutputError
from edge_agent.outputs.record import record
from edge_agent.outputs.rotation import RotatingFile
from edge_agent.results import FrameResult


class JsonlSink:
    """Sink `jsonl`: a line per frame with what was served, written at once.

    With `unserved` a line also has what was seen below the serving thresholds, apart: what a
    build is worth is measured on all of it.

    At `rotate_bytes` the file becomes `<name>.1`, that one `<name>.2`, up to `keep_files`.
    A file that cannot be written is opened again with the next frame.
    """

    name = "jsonl"

    def __init__(
        self,
        path: Path,
        rotate_bytes: int = 64 * 1024 * 1024,
        keep_files: int = 3,
        *,
        unserved: bool = False,
    ) -> None:
        self._path, self._unserved = path, unserved
        self._file = RotatingFile(path, rotate_bytes, keep_files)

    def take(self, result: FrameResult) -> None:
        """Append the result. Raises OutputError where the file cannot be written."""
        found = record(result, unserved=self._unserved)
        line = json.dumps(found, separators=(",", ":"), allow_nan=False) + "\n"
        try:
            self._file.append(line.encode())
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written: {error.strerror}; make room or change the path"
            ) from error

    def tick(self, now_s: float) -> None:
        """Every line is written already."""

    def close(self) -> None:
        self._file.close()
