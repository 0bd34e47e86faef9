"""What must arrive: kept on disk until the hub says that it is stored.

Three streams, each numbered from 1 without a gap. An entry is written before it is sent
and removed when the hub has acknowledged it, so a kill or a power cut loses nothing. The
database is SQLite in WAL mode with synchronous=FULL: each append is on the disk when it
returns. NORMAL would be faster and lose the last commits with the power, and the last
event before a power cut is the one that somebody will ask for; at a few appends a second
the difference cannot be seen.

When a quota is reached, the entries of least worth go first (`WORTH`) and leave a
tombstone, so that the hub's contiguous count goes on. Random samples outlive uncertain
ones: doubtful images come again as long as the doubt lasts, while the unbiased random
share is what accuracy is estimated from and cannot be had later. Records and images have
a quota each, because a few images would otherwise push out weeks of statistics.

On a full disk an event is kept with the room of the reserve, and everything of less worth is
refused until the reserve is back. What is refused raises OutboxError and changes nothing.

Pages rot while the agent runs. Whoever finds it, reading or writing, has the file put aside and
a new epoch begun, as at the start (`database`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from edge_agent import faults
from edge_agent.link.database import Database
from edge_agent.link.eviction import WORTH, Eviction, Quota
from edge_agent.link.outbox_file import STREAMS, OutboxError, transaction
from edge_agent.link.renumber import note_start, renumber, starts
from edge_agent.link.told import remember, told
from edge_agent.reserve import STATE_BYTES, Reserve
from edge_agent.store import write_atomically
from protocol.chunks import sha256_hex
from protocol.errors import ProtocolError
from protocol.messages import Sequenced, encode

T = TypeVar("T")

log = structlog.get_logger(__name__)

__all__ = ["STREAMS", "WORTH", "Entry", "Outbox", "OutboxError", "Quota"]


@dataclass(frozen=True)
class Entry:
    """One thing to send: `payload` is the whole message; tombstones span a range."""

    stream: str
    sequence: int
    payload: bytes
    image_sha256: str | None = None


class Outbox:
    """The outbox of one device, in one folder. Used by one thread at a time."""

    def __init__(
        self, folder: Path, device_id: str, quota: Quota, reserve: Reserve | None = None
    ) -> None:
        """Open or make it.

        A database that SQLite cannot read is put aside and a new epoch begins: the hub
        then knows that numbering starts again. On a full disk that does not even let it be
        opened, entries are kept in memory, in an epoch of their own; what is on the disk is
        sent after the next start. `reserve` is the room that is given up before that.

        Raises:
            OutboxError: the disk or its permissions do not allow it.
        """
        self.folder = folder
        self._eviction = Eviction(device_id, quota)
        self._images = folder / "images"
        try:
            self._images.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutboxError(f"cannot make {self._images}: {error}; make room there") from error
        self._file = Database(folder / "outbox.sqlite3", reserve)
        self._removed: Counter[str] = Counter()
        self._file.renewed = self._remove_strays
        self._remove_strays()

    @property
    def epoch(self) -> str:
        """Another one as soon as the numbers begin anew."""
        return self._file.epoch

    def close(self) -> None:
        self._file.db.close()

    def append(
        self, stream: str, make: Callable[[str, int], Sequenced], *, kind: str | None = None
    ) -> int:
        """Keep what `make(epoch, sequence)` returns and return its sequence.

        `kind` is its worth (a key of WORTH), the stream's name where it is not given.

        Raises:
            OutboxError: the disk refused.
        """
        worth = WORTH[kind or stream]
        self._require_room(worth)
        return self._kept(lambda: self._append(stream, make, worth))

    def append_once(
        self, key: str, number: int, stream: str, make: Callable[[str, int], Sequenced]
    ) -> int | None:
        """Keep what `make` returns, unless `number` or a higher one was kept for `key` before.

        The entry and the number are one transaction: whatever is killed when, calling again
        tells it once. Returns the sequence, None where it was told already. What was told is
        forgotten with the outbox itself (a broken file, an epoch in memory).

        Raises:
            OutboxError: the disk refused, and `number` counts as not told.
        """

        def append() -> int | None:
            if number <= self.told(key):
                return None
            self._require_room(WORTH[stream])
            return self._append(stream, make, WORTH[stream], once=(key, number))

        return self._kept(append)

    def told(self, key: str) -> int:
        """The highest number that was kept for `key`, 0 for none. Raises OutboxError."""
        with self._file.reading():
            return told(self._file.db, key)

    def append_sample(self, make: Callable[[str, int], Sequenced], image: bytes, kind: str) -> int:
        """Keep a sample and its image file. Raises OutboxError as `append` does."""
        self._require_room(WORTH[kind])
        sha256 = sha256_hex(image)

        def append() -> int:
            try:
                write_atomically(self._images / sha256, image)
            except OSError as error:
                raise OutboxError(f"cannot keep an image of {len(image)} bytes: {error}") from error
            return self._append("samples", make, WORTH[kind], image=(sha256, len(image)))

        return self._kept(append)

    def after(self, stream: str, sequence: int, limit: int) -> list[Entry]:
        """The next `limit` entries of `stream` that end after `sequence`, in order.

        Raises:
            OutboxError: they cannot be read now; the epoch may be another one from here on.
        """
        with self._file.reading():
            rows = self._file.db.execute(
                "SELECT sequence, payload, image_sha256 FROM entries"
                " WHERE stream = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                (stream, sequence, limit),
            )
            return [Entry(stream, *row) for row in rows]

    def acknowledge(self, stream: str, epoch: str, sequence: int) -> bool:
        """Forget everything of `stream` up to `sequence`; whether that was news.

        An acknowledgement of another epoch, or of what was never written, is ignored. Raises
        OutboxError as `after` does.
        """
        with self._file.reading():
            next_sequence, acked = self._file.counts(stream)
        if epoch != self.epoch or not acked < sequence < next_sequence:
            return False
        try:
            images = self._file.room.find(lambda: self._forget(stream, sequence), kept_bytes=0)
        except sqlite3.Error as error:
            # Nothing is lost: it is sent again and acknowledged again.
            log.warning("acknowledgement_not_kept", stream=stream, error=str(error))
            self._file.renew_malformed(error)
            return False
        self._remove_images(images)
        return True

    def was_given(self, stream: str, sequence: int) -> bool:
        """Whether this outbox has ever given the number. Raises OutboxError."""
        with self._file.reading():
            return sequence < self._file.counts(stream)[0]

    def begin_anew(self) -> bool:
        """The hub knows numbers that this outbox never gave (`renumber`): what was written since
        it was restored gets an epoch of its own. False where the disk refused."""
        try:
            with transaction(self._file.db) as db:
                epoch, removed = renumber(db, self._file.started)
                started = starts(db)
        except (sqlite3.Error, ProtocolError) as error:
            log.warning("epoch_not_renewed", error=str(error))
            self._file.renew_malformed(error)
            return False
        if removed:
            log.warning("left_to_the_older_epoch", epoch=self.epoch, **removed)
        self._removed.update(removed)
        self._file.epoch, self._file.started = epoch, started
        self._remove_strays()
        return True

    def abandon(self, stream: str, sequence: int, reason: str) -> None:
        """Give one entry up for good; a tombstone takes its place. Raises OutboxError."""
        with self._file.reading():
            row = self._file.db.execute(
                "SELECT first_sequence, record_bytes + image_bytes, image_sha256 FROM entries"
                " WHERE stream = ? AND sequence = ? AND worth IS NOT NULL",
                (stream, sequence),
            ).fetchone()
        if row is None:
            return
        log.warning("entry_abandoned", stream=stream, sequence=sequence, reason=reason)
        first, evicted_bytes, sha256 = row

        def bury() -> None:
            with transaction(self._file.db) as db:
                self._eviction.bury(db, self.epoch, stream, (first, sequence), evicted_bytes)

        try:
            self._file.room.find(bury, kept_bytes=0)
        except sqlite3.Error as error:
            log.warning("tombstone_not_kept", stream=stream, error=str(error))
            self._file.renew_malformed(error)
            return
        if sha256 is not None:
            self._remove_images([sha256])

    def acked(self, stream: str) -> int:
        """Everything of `stream` up to this sequence is stored at the hub. Raises OutboxError."""
        with self._file.reading():
            return self._file.counts(stream)[1]

    def image(self, sha256: str) -> bytes:
        """A sample's image. Raises OutboxError where it cannot be read."""
        try:
            return (self._images / sha256).read_bytes()
        except OSError as error:
            raise OutboxError(f"cannot read the image {sha256[:12]}: {error}") from error

    def image_path(self, sha256: str) -> Path:
        return self._images / sha256

    def counters(self) -> dict[str, int]:
        """What was written, acknowledged, evicted and waits, per stream, and bytes held; as last
        known where they cannot be read now.

        `left` counts what was removed unacknowledged since the hub has it of an older epoch,
        `lost` what was not acknowledged when a malformed file was put aside.
        """
        return self._file.counters(self._removed)

    def _kept(self, append: Callable[[], T]) -> T:
        """What `append` returns, asked again where its file turned out to be malformed."""
        epoch = self.epoch
        try:
            return append()
        except OutboxError:
            if self.epoch == epoch:
                raise
            return append()

    def _append(
        self,
        stream: str,
        make: Callable[[str, int], Sequenced],
        worth: int,
        *,
        image: tuple[str, int] | None = None,
        once: tuple[str, int] | None = None,
    ) -> int:
        try:
            sequence, evicted = self._file.room.find(
                lambda: self._insert(stream, make, worth, image, once),
                kept_bytes=STATE_BYTES if worth == WORTH["events"] else None,
            )
        except (sqlite3.Error, OSError) as error:
            self._file.renew_malformed(error)
            if image is not None:
                self._remove_images([image[0]])
            raise OutboxError(
                f"cannot keep an entry of {stream}: {error}; make room under {self.folder}"
            ) from error
        self._remove_images(evicted)
        return sequence

    def _require_room(self, worth: int) -> None:
        if worth < WORTH["events"]:
            self._file.room.require()

    def _insert(
        self,
        stream: str,
        make: Callable[[str, int], Sequenced],
        worth: int,
        image: tuple[str, int] | None,
        once: tuple[str, int] | None,
    ) -> tuple[int, list[str]]:
        """One transaction: the entry, its sequence, what was told, and the quota."""
        sha256, image_bytes = image or (None, 0)
        with transaction(self._file.db) as db:
            sequence = self._file.counts(stream)[0]
            payload = encode(make(self.epoch, sequence))
            db.execute(
                "INSERT INTO entries (stream, sequence, first_sequence, worth, record_bytes,"
                " image_sha256, image_bytes, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (stream, sequence, sequence, worth, len(payload), sha256, image_bytes, payload),
            )
            db.execute(
                "UPDATE streams SET next_sequence = ? WHERE stream = ?", (sequence + 1, stream)
            )
            note_start(db, stream, self._file.started[stream])
            if once is not None:
                remember(db, *once, sequence)
            evicted = self._eviction.evict(db, self.epoch)
            faults.point("outbox.append")
        return sequence, evicted

    def _forget(self, stream: str, sequence: int) -> list[str]:
        """Remove what is acknowledged; the images that it named."""
        with transaction(self._file.db) as db:
            rows = db.execute(
                "SELECT image_sha256 FROM entries WHERE stream = ? AND sequence <= ?"
                " AND image_sha256 IS NOT NULL",
                (stream, sequence),
            ).fetchall()
            db.execute("DELETE FROM entries WHERE stream = ? AND sequence <= ?", (stream, sequence))
            db.execute("UPDATE streams SET acked = ? WHERE stream = ?", (sequence, stream))
        return [row[0] for row in rows]

    def _remove_images(self, candidates: list[str]) -> None:
        """Those that no entry needs. What the disk does not let go is a stray at the next start."""
        try:
            for sha256 in candidates:
                still = self._file.db.execute(
                    "SELECT 1 FROM entries WHERE image_sha256 = ? LIMIT 1", (sha256,)
                ).fetchone()
                if still is None:
                    (self._images / sha256).unlink(missing_ok=True)
        except (sqlite3.Error, OSError) as error:
            log.warning("image_not_removed", error=str(error))

    def _remove_strays(self) -> None:
        """Images that no entry names: a kill came between the file and its entry, or the file was
        put aside. What is kept in memory says nothing of those on the disk."""
        if self._file.on_disk:
            with suppress(OSError):
                self._remove_images([path.name for path in self._images.iterdir()])
