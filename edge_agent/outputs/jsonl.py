"""Detections as JSON lines in a file, for whatever reads them on the device."""

from __future__ import annotations

from pathlib import Path

from edge_agent.results import FrameResult


class JsonlSink:
    """Sink `jsonl`: a line per frame, flushed; rotated to `<name>.1` by size."""

    name = "jsonl"

    def __init__(self, path: Path, rotate_bytes: int = 64 * 1024 * 1024, keep_files: int = 3) -> None: ...

    def take(self, result: FrameResult) -> None: ...

    def tick(self, wall_s: float, monotonic_s: float) -> None: ...

    def close(self) -> None: ...
