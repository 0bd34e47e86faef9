"""Programs for `python -c`: an outbox whose process dies at a statement of its choice."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.link.outbox import Outbox, Quota
from protocol.messages import Alert, EventReport


class Dying:
    """A connection that calls `die` before its nth statement."""

    def __init__(self, db: sqlite3.Connection, nth: int, die: Callable[[], None]) -> None:
        self._db, self._left, self._die = db, nth, die
        self.statements = 0

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        self.statements += 1
        if statement != "ROLLBACK":
            self._left -= 1
            if self._left == 0:
                self._die()
        return self._db.execute(statement, *arguments)

    def close(self) -> None:
        self._db.close()


def event(epoch: str, sequence: int) -> EventReport:
    return EventReport(
        device_id="d", epoch=epoch, sequence=sequence, at=1, alert=Alert(name="n", text="t")
    )


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, number: int, nth: int) -> None:
    """Tell `number` of the slot "line"; die at the nth statement (0: not at all)."""
    outbox: Any = Outbox(Path(folder), "d", Quota(10**9, 10**9))
    outbox._file.db = Dying(outbox._file.db, nth, kill_self)
    outbox.append_once("line", number, "events", event)
    outbox.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
