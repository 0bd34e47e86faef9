"""The outbox's open database, and a new one in its place where it is found to be malformed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from edge_agent.link.eviction import held_bytes
from edge_agent.link.outbox_file import (
    STREAMS,
    OutboxError,
    is_malformed,
    only_row,
    open_or_renew,
    renew,
)
from edge_agent.link.renumber import Start, starts
from edge_agent.link.room import Room
from edge_agent.reserve import Reserve

log = structlog.get_logger(__name__)


class Database:
    """One outbox's; `db`, `epoch`, `room` and `started` are other ones after a renewal.

    `renewed` is called then.
    """

    def __init__(self, path: Path, reserve: Reserve | None) -> None:
        """Open or make it. Raises OutboxError."""
        self._path, self._reserve = path, reserve
        self._counted: dict[str, int] = {}
        self._lost: Counter[str] = Counter()
        self._troubles = Counter(outbox_renewed=0, outbox_unreadable=0)
        self._told = ""
        self.renewed: Callable[[], None] = lambda: None
        self.db, self.epoch = open_or_renew(path, reserve)
        self.room = Room(self.db, path.parent, reserve)
        try:
            self.started = starts(self.db)
        except sqlite3.Error as error:
            if not self.renew_malformed(error):
                raise self._unread(error) from error

    @property
    def on_disk(self) -> bool:
        return bool(self.db.execute("PRAGMA database_list").fetchone()[2])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read within raises OutboxError where the disk does not give it.

        A malformed file is renewed before, so the next try finds a new epoch.
        """
        try:
            yield
        except sqlite3.Error as error:
            self._troubles["outbox_unreadable"] += 1
            if not self.renew_malformed(error) and str(error) != self._told:
                self._told = str(error)  # once: it is read many times a second
                log.warning("outbox_unreadable", path=str(self._path), error=str(error))
            raise self._unread(error) from error

    def renew_malformed(self, error: Exception) -> bool:
        """Begin anew where `error` says that the file is malformed; whether it does.

        The rotten file is put aside; where the disk refuses even that, what comes is kept in
        memory. What was given and not acknowledged is counted as lost.
        """
        if not (isinstance(error, sqlite3.Error) and is_malformed(error)):
            return False
        with suppress(sqlite3.Error):
            self._counted = self._read_streams()
        lost = {stream: self._unacknowledged(stream) for stream in STREAMS}
        with suppress(sqlite3.Error):
            self.db.close()
        self.db, self.epoch = renew(self._path, self._reserve, error)
        self.room = Room(self.db, self._path.parent, self._reserve)
        self.started = dict.fromkeys(STREAMS, Start(number=1, acked=0))
        self._lost.update(lost)
        self._counted = {}
        self._troubles["outbox_renewed"] += 1
        log.warning("outbox_renewed", epoch=self.epoch, lost=lost)
        self.renewed()
        return True

    def counts(self, stream: str) -> tuple[int, int]:
        """The next number and the highest that is acknowledged. Raises sqlite3.Error."""
        row: tuple[int, int] = only_row(
            self.db.execute("SELECT next_sequence, acked FROM streams WHERE stream = ?", (stream,))
        )
        return row

    def counters(self, left: Mapping[str, int]) -> dict[str, int]:
        """As `Outbox.counters` has them; `left` by stream."""
        with suppress(OutboxError), self.reading():
            records_bytes, images_bytes = held_bytes(self.db)
            held = {"outbox_records_bytes": records_bytes, "outbox_images_bytes": images_bytes}
            self._counted = self._read_streams() | held
        found = {**self._counted, **self._troubles}
        for stream in STREAMS:
            found[f"outbox_{stream}_left"] = left.get(stream, 0)
            found[f"outbox_{stream}_lost"] = self._lost[stream]
        return found

    def _read_streams(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for stream, next_sequence, acked, evicted in self.db.execute(
            "SELECT stream, next_sequence, acked, evicted FROM streams"
        ):
            found[f"outbox_{stream}_written"] = next_sequence - 1
            found[f"outbox_{stream}_acked"] = acked
            found[f"outbox_{stream}_evicted"] = evicted
        return found

    def _unacknowledged(self, stream: str) -> int:
        """Of what was given, as it was last known."""
        written = self._counted.get(f"outbox_{stream}_written", 0)
        return written - self._counted.get(f"outbox_{stream}_acked", 0)

    def _unread(self, error: sqlite3.Error) -> OutboxError:
        return OutboxError(f"cannot read {self._path}: {error}; check the disk")
