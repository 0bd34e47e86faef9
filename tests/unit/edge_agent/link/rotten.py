"""Rot in an outbox's file: a page that SQLite meets only when it reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from edge_agent.link.waiting import DATABASE

TABLES = ("entries", "entries_by_worth", "entries_by_image", "streams", "outbox", "told", "starts")


def rot(folder: Path, table: str) -> None:
    """Overwrite the first page of `table`, or of an index. The outbox may be open: what is in
    its log goes into the file before."""
    path = folder / DATABASE
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        size = db.execute("PRAGMA page_size").fetchone()[0]
        found = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        page = found.fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
