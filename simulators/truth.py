"""What was really in each frame that a camera sent: the ground truth that outputs are judged by."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simulators.scenes import Box, Drift

TRUTH_RECORDS_MAX = 50_000
"""Newest records kept in memory for `/truth`; the file keeps them all."""


@dataclass(frozen=True)
class TruthRecord:
    """One frame on one connection; `(connection, index)` names it for whoever read the stream."""

    camera: str
    connection: str
    index: int
    frame_number: int
    drift: Drift
    boxes: tuple[Box, ...]
    sent_at: float
    """Seconds since the epoch."""

    def as_dict(self) -> dict[str, Any]:
        """The record as one line of the log: boxes as [class_id, x1, y1, x2, y2] in pixels."""
        return {
            "camera": self.camera,
            "connection": self.connection,
            "index": self.index,
            "frame_number": self.frame_number,
            "drift": asdict(self.drift),
            "boxes": [
                [b.class_id, round(b.x1, 2), round(b.y1, 2), round(b.x2, 2), round(b.y2, 2)]
                for b in self.boxes
            ],
            "sent_at": self.sent_at,
        }


class TruthLog:
    """Numbered records, written to a JSONL file (where one is named) before the frame is sent.

    Safe to use from several threads.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._recent: deque[dict[str, Any]] = deque(maxlen=TRUTH_RECORDS_MAX)
        self._count = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def append(self, record: TruthRecord) -> None:
        """Add one record; the file has its line when this returns."""
        line = record.as_dict()
        with self._lock:
            if self._file is not None:
                self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._recent.append(line)
            self._count += 1

    def since(self, position: int) -> tuple[list[dict[str, Any]], int]:
        """Records from `position` on that are still in memory, and the position to ask for next."""
        with self._lock:
            oldest = self._count - len(self._recent)
            return list(self._recent)[max(0, position - oldest) :], self._count

    def close(self) -> None:
        """Close the file; appending afterwards is an error."""
        with self._lock:
            if self._file is not None:
                self._file.close()
