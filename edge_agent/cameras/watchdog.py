"""Whether a live picture still changes. Pure: told of frames, it says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Picture(str, Enum):
    """What a frame says of its stream."""

    FRESH = "fresh"
    FROZEN = "frozen"
    REOPEN = "reopen"


@dataclass
class Watchdog:
    """Notices a camera that goes on sending the same picture.

    A camera's noise makes two frames differ even in front of a wall, so the very same
    picture for `stale_after_s` means that the camera hangs; after `reopen_after_s` the
    source should be opened again.
    """

    stale_after_s: float
    reopen_after_s: float
    _fingerprint: int | None = field(default=None, init=False)
    _since_s: float = field(default=0.0, init=False)

    def see(self, fingerprint: int, now_s: float) -> Picture:
        """Judge a frame by its content's `fingerprint`, at `now_s` (monotonic)."""
        if fingerprint != self._fingerprint:
            self._fingerprint, self._since_s = fingerprint, now_s
            return Picture.FRESH
        unchanged_s = now_s - self._since_s
        if unchanged_s >= self.reopen_after_s:
            return Picture.REOPEN
        return Picture.FROZEN if unchanged_s >= self.stale_after_s else Picture.FRESH
