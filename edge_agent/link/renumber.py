"""A new epoch for an outbox whose numbers the hub has seen before.

A data folder that was restored from an older copy gives numbers again that were given before
the copy was lost. The hub takes what comes under them for what it has, and forgets it. That the
hub acknowledges more than this outbox ever gave proves it. What was written since the start then
begins an epoch of its own. What lay there before the start is in the copy because it was written
before: the hub has it, for it has acknowledged numbers after it.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from typing import Any

from edge_agent.link.outbox_file import KINDS
from protocol.messages import decode, encode


def renumber(db: sqlite3.Connection, started: Mapping[str, int]) -> str:
    """Within a transaction: give all streams a new epoch, from 1; returns the epoch.

    `started` is for each stream the number that it would have given first at the start.
    """
    epoch = uuid.uuid4().hex
    for stream, first in started.items():
        db.execute("DELETE FROM entries WHERE stream = ? AND sequence < ?", (stream, first))
        numbers = db.execute(
            "SELECT sequence, first_sequence FROM entries WHERE stream = ? ORDER BY sequence",
            (stream,),
        ).fetchall()
        down = max(first, numbers[0][1]) - 1 if numbers else 0
        last = 0
        for number, _ in numbers:
            last = _move(db, stream, number, epoch, down)
        db.execute(
            "UPDATE streams SET next_sequence = ?, acked = 0 WHERE stream = ?", (last + 1, stream)
        )
    db.execute("UPDATE outbox SET epoch = ?", (epoch,))
    return epoch


def _move(db: sqlite3.Connection, stream: str, number: int, epoch: str, down: int) -> int:
    """One entry under its new number, which is returned."""
    row = db.execute(
        "SELECT first_sequence, worth, image_sha256, image_bytes, evicted_bytes, payload"
        " FROM entries WHERE stream = ? AND sequence = ?",
        (stream, number),
    ).fetchone()
    first_was, worth, sha256, image_bytes, evicted_bytes, raw = row
    now, first = number - down, max(1, first_was - down)
    changed: dict[str, Any] = {"epoch": epoch, "sequence": now}
    message = decode(KINDS[stream], raw)
    if hasattr(message, "first_sequence"):
        changed["first_sequence"] = first
    payload = encode(message.model_copy(update=changed))
    db.execute("DELETE FROM entries WHERE stream = ? AND sequence = ?", (stream, number))
    db.execute(
        "INSERT INTO entries (stream, sequence, first_sequence, worth, record_bytes,"
        " image_sha256, image_bytes, evicted_bytes, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (stream, now, first, worth, len(payload), sha256, image_bytes, evicted_bytes, payload),
    )
    return now
