"""What goes when the outbox's quota is reached, and the tombstones that it leaves."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edge_agent.link.outbox_file import only_row
from protocol.messages import Tombstone, encode

WORTH = {"telemetry": 0, "uncertain": 1, "disagreement": 2, "random": 2, "snapshot": 3, "events": 4}
"""Eviction order: the least first, within a worth the oldest first."""


@dataclass(frozen=True)
class Quota:
    records_bytes_max: int
    images_bytes_max: int


@dataclass(frozen=True)
class Eviction:
    """Of one device's outbox; each is done within a transaction of its database."""

    device_id: str
    quota: Quota

    def evict(self, db: sqlite3.Connection, epoch: str) -> list[str]:
        """Turn the least worthy entries into tombstones until both quotas hold; their images."""
        images: list[str] = []
        while True:
            records_bytes, images_bytes = held_bytes(db)
            if images_bytes > self.quota.images_bytes_max:
                lowest, highest = WORTH["uncertain"], WORTH["snapshot"]
            elif records_bytes > self.quota.records_bytes_max:
                lowest, highest = WORTH["telemetry"], WORTH["events"]
            else:
                return images
            victim = db.execute(
                "SELECT stream, sequence, first_sequence, record_bytes, image_bytes, image_sha256"
                " FROM entries WHERE worth BETWEEN ? AND ? ORDER BY worth, sequence LIMIT 1",
                (lowest, highest),
            ).fetchone()
            if victim is None:
                return images
            stream, sequence, first, record_bytes, image_bytes, sha256 = victim
            if sha256 is not None:
                images.append(sha256)
            self.bury(db, epoch, stream, (first, sequence), record_bytes + image_bytes)

    def bury(
        self,
        db: sqlite3.Connection,
        epoch: str,
        stream: str,
        span: tuple[int, int],
        evicted_bytes: int,
    ) -> None:
        """Put a tombstone in the place of `span`, both ends in it, joined with those beside it."""
        first, last = span
        db.execute(
            "UPDATE streams SET evicted = evicted + ? WHERE stream = ?", (last - first + 1, stream)
        )
        beside = db.execute(
            "SELECT sequence, first_sequence, evicted_bytes FROM entries WHERE stream = ?"
            " AND worth IS NULL AND (sequence = ? OR first_sequence = ?)",
            (stream, first - 1, last + 1),
        ).fetchall()
        for sequence, first_sequence, more_bytes in beside:
            first, last = min(first, first_sequence), max(last, sequence)
            evicted_bytes += more_bytes
        db.execute(
            "DELETE FROM entries WHERE stream = ? AND sequence BETWEEN ? AND ?",
            (stream, first, last),
        )
        tombstone = Tombstone(
            device_id=self.device_id,
            epoch=epoch,
            sequence=last,
            first_sequence=first,
            evicted_bytes=evicted_bytes,
        )
        payload = encode(tombstone)
        db.execute(
            "INSERT INTO entries (stream, sequence, first_sequence, worth, record_bytes,"
            " evicted_bytes, payload) VALUES (?, ?, ?, NULL, ?, ?, ?)",
            (stream, last, first, len(payload), evicted_bytes, payload),
        )


def held_bytes(db: sqlite3.Connection) -> tuple[int, int]:
    """Of records and of images. Raises sqlite3.Error."""
    row: tuple[int, int] = only_row(db.execute("SELECT records_bytes, images_bytes FROM outbox"))
    return row
