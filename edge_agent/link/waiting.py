"""What waits in a device's outbox, read beside a running agent or without one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

DATABASE = "outbox.sqlite3"
PAYLOAD_BYTES_MAX = 1024 * 1024
BUSY_S = 1.0
_TIMES = ("at", "captured_at", "window_end")

_STREAMS = """
SELECT s.stream, s.next_sequence - 1, s.acked, s.evicted,
    (SELECT COUNT(*) FROM entries e WHERE e.stream = s.stream AND e.sequence > s.acked),
    (SELECT e.payload FROM entries e WHERE e.stream = s.stream AND e.sequence > s.acked
        AND length(e.payload) <= ? ORDER BY e.sequence LIMIT 1)
FROM streams s ORDER BY s.stream
"""


def outbox_account(folder: Path) -> dict[str, Any] | None:
    """For each stream what waits, was acknowledged and was evicted, and since when (Unix s) the
    oldest waits; None where there is no outbox or it cannot be read. Changes nothing."""
    path = folder / DATABASE
    if not path.is_file():
        return None
    try:
        address = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as db:
            rows = db.execute(_STREAMS, (PAYLOAD_BYTES_MAX,)).fetchall()
            held = db.execute("SELECT records_bytes, images_bytes FROM outbox").fetchone()
    except sqlite3.Error:
        return None
    streams = {
        stream: {
            "written": written,
            "acked": acked,
            "evicted": evicted,
            "waiting": waiting,
            "oldest_at": _time(payload),
        }
        for stream, written, acked, evicted, waiting, payload in rows
    }
    records, images = (0, 0) if held is None else held
    return {"streams": streams, "records_bytes": records, "images_bytes": images}


def _time(payload: bytes | None) -> float | None:
    """When what a message tells happened; None where it does not say, as a tombstone."""
    try:
        message = json.loads(payload or b"null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    times = (message.get(name) for name in _TIMES)
    return next((float(t) for t in times if isinstance(t, int | float)), None)
