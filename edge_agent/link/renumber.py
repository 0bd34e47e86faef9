"""A new epoch for an outbox whose numbers the hub has seen before.

A data folder that was restored from an older copy gives numbers again that were given before
the copy was lost. The hub takes what comes under them for what it has, and forgets it. That the
hub acknowledges more than this outbox ever gave proves it. What was written since the restored
folder was first started then begins an epoch of its own. What lay there before is in the copy: the
hub has it, for it has acknowledged numbers after it.

Which start was the first after the restore cannot be known, only that the hub acknowledged
nothing since. So it is the first start since the last acknowledgement that counts. Where the
copy itself was made while the device was cut off, that start may lie before the copy, and what
was written between the two comes twice; nothing is lost.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from edge_agent.link.outbox_file import KINDS
from protocol.messages import decode, encode


class Start(NamedTuple):
    """A stream at a start: the number to be given first, and what was acknowledged by then."""

    number: int
    acked: int


def starts(db: sqlite3.Connection) -> dict[str, Start]:
    """For each stream the first start since the hub acknowledged any of it: this one, unless an
    older one is noted and nothing was acknowledged since."""
    rows = db.execute(
        "SELECT stream, coalesce(starts.number, next_sequence), streams.acked"
        " FROM streams LEFT JOIN starts USING (stream, acked)"
    )
    return {stream: Start(number, acked) for stream, number, acked in rows}


def note_start(db: sqlite3.Connection, stream: str, start: Start) -> None:
    """Within an entry's transaction: as long as there is none, the next start finds the same."""
    db.execute("INSERT OR REPLACE INTO starts VALUES (?, ?, ?)", (stream, *start))


def renumber(db: sqlite3.Connection, started: Mapping[str, Start]) -> tuple[str, dict[str, int]]:
    """Within a transaction: give all streams a new epoch, from 1.

    Returns the epoch, and how many unacknowledged entries of which streams were removed because
    they are from before `started`.
    """
    epoch, removed = uuid.uuid4().hex, {}
    for stream, (first, _) in started.items():
        before = (stream, first)
        removed[stream] = db.execute(
            "SELECT count(worth) FROM entries WHERE stream = ? AND sequence < ?", before
        ).fetchone()[0]
        db.execute("DELETE FROM entries WHERE stream = ? AND sequence < ?", before)
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
        note_start(db, stream, Start(number=1, acked=0))
    db.execute("UPDATE outbox SET epoch = ?", (epoch,))
    return epoch, {stream: count for stream, count in removed.items() if count}


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
