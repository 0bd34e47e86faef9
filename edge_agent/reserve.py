"""Room that is kept for the moment in which the disk is full.

An update that cannot write down where it stands cannot end, and a full disk is when it has to.
So a file of a known size lies in the data folder for nothing but to be made smaller: what must
be written then finds its room. Most of it goes to events; the last of it they do not get,
because a state replaces a state and gives the room back, and events only add up. It is taken
back when there is room again.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import structlog

RESERVE_NAME = ".reserve"
RESERVE_BYTES = 256 * 1024
STATE_BYTES = 64 * 1024
"""What is kept of it for states and acknowledgements alone."""

MARGIN_BYTES = 1024 * 1024
"""What must be free beside the reserve before it is taken back, so that it does not flap."""

BLOCK_BYTES = 512
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = structlog.get_logger(__name__)


class Reserve:
    """One file of allocated room. Safe from any thread; nothing here raises."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path, self._size_bytes = path, size_bytes
        self._lock = threading.Lock()
        self._kept_bytes = 0
        self._out = self._refused = False

    @property
    def held(self) -> bool:
        """Whether all of it is kept."""
        return self._kept_bytes >= self._size_bytes

    @property
    def out(self) -> bool:
        """Whether the disk is full, or was when it was last looked at."""
        return self._out

    def take(self) -> bool:
        """Keep all of the room, where there is enough; False where the disk is full.

        A disk that can keep no room for another reason is used without a reserve.
        """
        with self._lock:
            self._kept_bytes = max(self._kept_bytes, self._found_bytes())
            roomy = self.held or (self._is_roomy() and self._allocate(self._size_bytes))
            self._out = not roomy
            return roomy

    def give_up(self, kept_bytes: int = 0) -> bool:
        """Let what must be written have the room down to `kept_bytes`; whether there was any."""
        with self._lock:
            if self._kept_bytes <= kept_bytes:
                return False
            if self.held:
                log.warning("disk_full", remedy="make room; only events and states are kept now")
            try:
                os.truncate(self._path, kept_bytes)
            except OSError as error:
                log.warning("reserve_not_given_up", error=str(error))
                return False
            self._kept_bytes, self._out = kept_bytes, True
            return True

    def settle(self) -> None:
        """What was urgent is written: keep the last of the room again, for the next."""
        with self._lock:
            for size_bytes in (STATE_BYTES, STATE_BYTES // 2, STATE_BYTES // 4):
                if self._kept_bytes >= size_bytes or self._allocate(size_bytes):
                    return

    def _found_bytes(self) -> int:
        """What an earlier process left of it."""
        try:
            return self._path.stat().st_blocks * BLOCK_BYTES
        except OSError:
            return 0

    def _is_roomy(self) -> bool:
        try:
            free_bytes = shutil.disk_usage(self._path.parent).free
        except OSError:
            return False
        return free_bytes >= self._size_bytes + MARGIN_BYTES

    def _allocate(self, size_bytes: int) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._refused:
                log.warning("reserve_not_taken", path=str(self._path), error=str(error))
            self._refused = True
            return not is_full(error)
        self._kept_bytes, self._refused = size_bytes, False
        return True


def is_full(error: OSError) -> bool:
    """Whether the disk, or the share of it that this user may use, is full."""
    return error.errno in FULL
