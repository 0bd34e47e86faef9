"""Room that is kept for the moment in which the disk is full.

An update that cannot write down where it stands cannot end, and a full disk is when it has to.
So a file of a known size lies in the data folder for nothing but to be removed: what must be
written then finds its room. It is taken back when there is room again.
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
MARGIN_BYTES = 1024 * 1024
"""What must be free beside the reserve before it is taken back, so that it does not flap."""

BLOCK_BYTES = 512
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = structlog.get_logger(__name__)


class Reserve:
    """One file of allocated room. Safe from any thread."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path, self._size_bytes = path, size_bytes
        self._lock = threading.Lock()
        self._held = False
        self._refused = False

    @property
    def held(self) -> bool:
        """Whether the room is kept; where it is not, the disk is full or was a moment ago."""
        return self._held

    def take(self) -> bool:
        """Keep the room, where there is enough; False where the disk is full. Never raises.

        A disk that can keep no room for another reason is used without a reserve.
        """
        with self._lock:
            if self._held or self._is_there():
                self._held = True
            return self._held or (self._is_roomy() and self._allocate())

    def give_up(self) -> bool:
        """Give the room to what must be written now; whether there was any to give."""
        with self._lock:
            was, self._held = self._held, False
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("reserve_not_given_up", error=str(error))
                return False
        if was:
            log.warning("disk_full", remedy="make room; only events and states are kept now")
        return was

    def _is_there(self) -> bool:
        """Whether an earlier process left it, with all of its room."""
        try:
            return self._path.stat().st_blocks * BLOCK_BYTES >= self._size_bytes
        except OSError:
            return False

    def _is_roomy(self) -> bool:
        try:
            free_bytes = shutil.disk_usage(self._path.parent).free
        except OSError:
            return False
        return free_bytes >= self._size_bytes + MARGIN_BYTES

    def _allocate(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._refused:
                log.warning("reserve_not_taken", path=str(self._path), error=str(error))
            self._refused = True
            return not is_full(error)
        self._held, self._refused = True, False
        return True


def is_full(error: OSError) -> bool:
    """Whether the disk, or the share of it that this user may use, is full."""
    return error.errno in FULL
