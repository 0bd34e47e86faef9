"""What was told once, and must not be told again: a number for each key, in the outbox's file.

The numbers are kept in the transaction that keeps the entry. Keys are slots: few, but they
may be renamed, so the ones that were silent longest are forgotten beyond KEYS_MAX.
"""

from __future__ import annotations

import sqlite3

KEYS_MAX = 256

TOLD = """
CREATE TABLE IF NOT EXISTS told (
    key TEXT PRIMARY KEY, number INTEGER NOT NULL, sequence INTEGER NOT NULL) WITHOUT ROWID;
"""


def told(db: sqlite3.Connection, key: str) -> int:
    """The highest number that was told of `key`, 0 for none. Raises sqlite3.Error."""
    row = db.execute("SELECT number FROM told WHERE key = ?", (key,)).fetchone()
    return 0 if row is None else int(row[0])


def remember(db: sqlite3.Connection, key: str, number: int, sequence: int) -> None:
    """Note, within a transaction, that `number` of `key` went as the entry `sequence`."""
    db.execute(
        "INSERT INTO told (key, number, sequence) VALUES (?, ?, ?) ON CONFLICT (key)"
        " DO UPDATE SET number = excluded.number, sequence = excluded.sequence",
        (key, number, sequence),
    )
    db.execute(
        "DELETE FROM told WHERE key IN"
        " (SELECT key FROM told ORDER BY sequence DESC LIMIT -1 OFFSET ?)",
        (KEYS_MAX,),
    )
