"""The one queue into the agent's thread."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue


class Inbox:
    """Many threads put, the agent's thread takes.

    What the network brings is bounded: `offer` waits for room and then refuses. What this
    process makes itself (`put`) is bounded where it is made, and never waits, so that it may
    be called from a signal handler too.
    """

    def __init__(self, offered_max: int) -> None:
        self._items: SimpleQueue[tuple[object, bool]] = SimpleQueue()
        self._room = threading.BoundedSemaphore(offered_max)

    def offer(self, item: object, timeout_s: float) -> bool:
        """Put something of unknown quantity; False where there was no room in time."""
        if not self._room.acquire(timeout=timeout_s):
            return False
        self._items.put((item, True))
        return True

    def put(self, item: object) -> None:
        self._items.put((item, False))

    def get(self, timeout_s: float) -> object | None:
        """The next item, None where none came in time."""
        try:
            item, offered = (
                self._items.get(timeout=timeout_s) if timeout_s else self._items.get(False)
            )
        except Empty:
            return None
        if offered:
            self._room.release()
        return item
