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
class _Still:
    """Since when a value has not changed, and whether it ever has."""

    value: float | None = None
    since_s: float = 0.0
    moved: bool = False

    def see(self, value: float, now_s: float) -> float:
        """Seconds for which the value has been the same."""
        if value != self.value:
            self.moved = self.value is not None
            self.value, self.since_s = value, now_s
        return now_s - self.since_s


@dataclass
class Watchdog:
    """Notices a camera that goes on sending the same picture, over reconnects as well.

    A camera's noise makes two frames differ even in front of a wall, so the very same
    picture for `stale_after_s` means that the camera hangs. So does a stream whose own
    clock stands still while frames come, where that clock has moved before: many streams
    have none. After `reopen_after_s` the source should be opened again.
    """

    stale_after_s: float
    reopen_after_s: float
    _content: _Still = field(default_factory=_Still, init=False)
    _clock: _Still = field(default_factory=_Still, init=False)
    _opened_s: float = field(default=0.0, init=False)

    def opened(self, now_s: float) -> None:
        """The source was opened: its clock is new, and its picture gets time to change."""
        self._clock, self._opened_s = _Still(), now_s

    def see(self, fingerprint: int, stream_ms: float | None, now_s: float) -> Picture:
        """Judge a frame by its content's `fingerprint` and its time by the stream's clock.

        `now_s` is monotonic.
        """
        unchanged_s = self._content.see(fingerprint, now_s)
        if stream_ms is not None:
            stood_s = self._clock.see(stream_ms, now_s)
            unchanged_s = max(unchanged_s, stood_s if self._clock.moved else 0.0)
        if unchanged_s < self.stale_after_s:
            return Picture.FRESH
        again = min(unchanged_s, now_s - self._opened_s) >= self.reopen_after_s
        return Picture.REOPEN if again else Picture.FROZEN
