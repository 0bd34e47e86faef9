"""Room for the outbox on a disk that is full."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge_agent.link.outbox_file import OutboxError, is_full
from edge_agent.reserve import Reserve

T = TypeVar("T")


class Room:
    """Finds it: in the database's own log, and in the reserve. Used by the outbox's thread."""

    def __init__(self, db: sqlite3.Connection, folder: Path, reserve: Reserve | None) -> None:
        self._db, self._folder, self._reserve = db, folder, reserve

    def require(self) -> None:
        """Return where the disk has room for what is of less worth than an event.

        Raises:
            OutboxError: it has none; what is left is kept for events and states.
        """
        if self._reserve is not None and not self._reserve.take():
            raise OutboxError(f"the disk is full; make room under {self._folder}")

    def find(self, write: Callable[[], T], *, kept_bytes: int | None) -> T:
        """Write; on a full disk once more, with the reserve's room down to `kept_bytes`.

        None gets nothing of it, 0 is for what makes room. A checkpoint lets the log begin
        anew in the room that it has. As long as the reserve is out there is one after each
        write, so that the log does not eat what it was given.

        Raises:
            sqlite3.Error, OSError: there was no room, or the disk is broken.
        """
        try:
            return write()
        except (sqlite3.Error, OSError) as error:
            if not is_full(error, self._folder):
                raise
            if self._reserve is not None and kept_bytes is not None:
                self._reserve.give_up(kept_bytes)
            self._checkpoint()
            return write()
        finally:
            if self._reserve is not None and self._reserve.out:
                self._checkpoint()
                self._reserve.settle()

    def _checkpoint(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
