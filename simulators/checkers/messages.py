"""Every message accounted for: written to the outbox once, stored by the hub once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

Key = tuple[str, str, str]
"""Device, stream, epoch."""


@dataclass(frozen=True)
class Issued:
    """What a device's outbox says of one stream: the last number given, what still waits."""

    last_sequence: int
    waiting: frozenset[int]


@dataclass(frozen=True)
class MessageAccounts:
    """Sums over all devices and streams."""

    issued: int
    stored: int
    waiting: int
    lost: int
    duplicates: int


def account(
    issued: Mapping[Key, Issued], stored: Mapping[Key, Iterable[tuple[int, int]]]
) -> MessageAccounts:
    """Compare what was issued with what was stored.

    `stored` gives for each stream the hub's rows as (first, last) sequence, a message being
    a row of one and a tombstone one of many. What still waits in an outbox is not lost: it
    comes with the next connection.
    """
    lost = duplicates = rows = 0
    for key, spans in stored.items():
        counts = Counter(n for first, last in spans for n in range(first, last + 1))
        duplicates += sum(counts.values()) - len(counts)
        rows += len(counts)
        if key in issued:
            expected = set(range(1, issued[key].last_sequence + 1))
            lost += len(expected - counts.keys() - issued[key].waiting)
    lost += sum(i.last_sequence - len(i.waiting) for key, i in issued.items() if key not in stored)
    return MessageAccounts(
        issued=sum(i.last_sequence for i in issued.values()),
        stored=rows,
        waiting=sum(len(i.waiting) for i in issued.values()),
        lost=lost,
        duplicates=duplicates,
    )


def read_outbox(data_dir: Path, device: str) -> dict[Key, Issued]:
    """The numbers given by the outbox in a device's data folder, read without changing it."""
    path = data_dir / "outbox" / "outbox.sqlite3"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        ((epoch,),) = database.execute("SELECT epoch FROM outbox")
        streams = database.execute("SELECT stream, next_sequence FROM streams").fetchall()
        entries = database.execute("SELECT stream, first_sequence, sequence FROM entries")
        waiting: dict[str, set[int]] = {stream: set() for stream, _ in streams}
        for stream, first, last in entries:
            waiting[stream].update(range(first, last + 1))
    return {
        (device, stream, epoch): Issued(following - 1, frozenset(waiting[stream]))
        for stream, following in streams
    }
