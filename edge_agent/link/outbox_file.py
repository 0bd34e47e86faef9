"""The outbox's database: its tables, and how it is opened, made and made anew.

The tables `told` and `starts` came later and are added where they lack. They change nothing of
the others, so the format stays: an older agent goes on with the file, and so does this one after
it.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from edge_agent.errors import EdgeError
from edge_agent.link.told import TOLD
from edge_agent.reserve import STATE_BYTES, Reserve
from edge_agent.reserve import is_full as reserve_is_full
from protocol.topics import Kind

KINDS = {"telemetry": Kind.TELEMETRY, "events": Kind.EVENTS, "samples": Kind.SAMPLES}
STREAMS = tuple(KINDS)
FORMAT = 1
MEMORY = ":memory:"
BROKEN = ".broken-"
_SHARED_MEMORY_BYTES = 64 * 1024

log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    epoch TEXT NOT NULL, records_bytes INTEGER NOT NULL DEFAULT 0,
    images_bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS streams (
    stream TEXT PRIMARY KEY, next_sequence INTEGER NOT NULL, acked INTEGER NOT NULL,
    evicted INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    stream TEXT NOT NULL, sequence INTEGER NOT NULL, first_sequence INTEGER NOT NULL,
    worth INTEGER, record_bytes INTEGER NOT NULL, image_sha256 TEXT,
    image_bytes INTEGER NOT NULL DEFAULT 0, evicted_bytes INTEGER NOT NULL DEFAULT 0,
    payload BLOB NOT NULL, PRIMARY KEY (stream, sequence)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_worth ON entries (worth, sequence);
CREATE INDEX IF NOT EXISTS entries_by_image ON entries (image_sha256);
CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entries BEGIN
    UPDATE outbox SET records_bytes = records_bytes + new.record_bytes,
        images_bytes = images_bytes + new.image_bytes; END;
CREATE TRIGGER IF NOT EXISTS entry_removed AFTER DELETE ON entries BEGIN
    UPDATE outbox SET records_bytes = records_bytes - old.record_bytes,
        images_bytes = images_bytes - old.image_bytes; END;
"""

_STARTS = """
CREATE TABLE IF NOT EXISTS starts (
    stream TEXT PRIMARY KEY, number INTEGER NOT NULL, acked INTEGER NOT NULL) WITHOUT ROWID;
"""


class OutboxError(EdgeError):
    """An entry could not be kept; nothing was changed. The text names why."""


def open_or_renew(path: Path, reserve: Reserve | None) -> tuple[sqlite3.Connection, str]:
    """The database at `path` and its epoch; see `Outbox` for what is done about a bad one.

    Raises:
        OutboxError: the disk or its permissions do not allow it.
    """
    try:
        return _opened(path, reserve)
    except sqlite3.DatabaseError as error:
        return renew(path, reserve, error)


def renew(
    path: Path, reserve: Reserve | None, error: sqlite3.Error
) -> tuple[sqlite3.Connection, str]:
    """Put a database aside that cannot be read, and begin a new one. Close it before: SQLite
    removes by name what lies beside a database, and would take the new one's log.

    Where the disk does not let it, entries are kept in memory as on a full one.
    """
    try:
        _put_aside(path, error)
        return _opened(path, reserve)
    except (OSError, sqlite3.Error, OutboxError) as again:
        return _in_memory(path, again, "check the disk")


def is_malformed(error: Exception) -> bool:
    """Whether `error` tells of the database's content, and neither of the disk or its
    permissions nor of a connection that is closed."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError | sqlite3.ProgrammingError
    )


def only_row(found: sqlite3.Cursor) -> Any:
    """The row of a table that has it for as long as it is whole. Raises sqlite3.DatabaseError."""
    row = found.fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a row that must be there is missing")
    return row


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All that is executed within, or nothing of it where anything is raised."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def is_full(error: Exception, folder: Path) -> bool:
    """Whether a write was refused by a full disk, and not by a broken one.

    SQLite says so of the file itself; of the shared memory beside it, it says "disk I/O error".
    """
    if isinstance(error, OSError):
        return reserve_is_full(error)
    text = str(error)
    return "full" in text or ("disk I/O" in text and _free_bytes(folder) < _SHARED_MEMORY_BYTES)


def _opened(path: Path, reserve: Reserve | None) -> tuple[sqlite3.Connection, str]:
    try:
        return _open(path)
    except sqlite3.OperationalError as error:
        # The disk or its permissions, not the content: what is kept there must stay.
        if not is_full(error, path.parent):
            raise _unopened(path, error) from error
        return _open_on_a_full_disk(path, reserve, error)


def _open_on_a_full_disk(
    path: Path, reserve: Reserve | None, error: sqlite3.Error
) -> tuple[sqlite3.Connection, str]:
    if reserve is not None and reserve.give_up(STATE_BYTES):
        with contextlib.suppress(sqlite3.OperationalError):
            return _open(path)
    return _in_memory(path, error, "make room")


def _in_memory(path: Path, error: Exception, remedy: str) -> tuple[sqlite3.Connection, str]:
    """A camera that sees must not go dark for what it could tell of it."""
    log.warning("outbox_in_memory", path=str(path), error=str(error), remedy=remedy)
    return _open(MEMORY)


def _put_aside(path: Path, error: sqlite3.Error) -> None:
    """Under another name, one at most. Raises OSError."""
    aside = path.with_name(f"{path.name}{BROKEN}{uuid.uuid4().hex[:8]}")
    path.rename(aside)
    log.warning("outbox_broken", path=str(path), put_aside_as=str(aside), error=str(error))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    for older in path.parent.glob(f"{path.name}{BROKEN}*"):
        if older != aside:
            older.unlink(missing_ok=True)


def _unopened(path: Path, error: sqlite3.Error) -> OutboxError:
    return OutboxError(f"cannot open {path}: {error}; make room there or correct its permissions")


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _open(path: Path | str) -> tuple[sqlite3.Connection, str]:
    db: Any = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise sqlite3.DatabaseError(  # noqa: TRY301
                f"format {found} is not known here, only {FORMAT}"
            )
        if found != FORMAT:
            _make(db)
        db.execute(TOLD)
        db.execute(_STARTS)
        epoch = str(only_row(db.execute("SELECT epoch FROM outbox"))[0])
    except BaseException:
        db.close()
        raise
    return db, epoch


def _make(db: sqlite3.Connection) -> None:
    """Everything at once, the format last: a kill in between leaves an empty file."""
    rows = ", ".join(f"('{stream}', 1, 0)" for stream in STREAMS)
    db.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA}"  # noqa: S608 - words of ours alone
        f"INSERT INTO outbox (epoch) VALUES ('{uuid.uuid4().hex}');"
        f"INSERT INTO streams (stream, next_sequence, acked) VALUES {rows};"
        f"PRAGMA user_version = {FORMAT}; COMMIT;"
    )
