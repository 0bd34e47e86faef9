"""How many bytes a download may take of the network, and when; pure.

The bytes that may be taken fill a bucket at the rate that is allowed. What is taken may
overdraw it by one piece, and then nothing is taken until that is made up for: so over any
time no more comes than the rate allows, one bucket and one piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

BURST_S = 1.0


@dataclass(frozen=True)
class Bucket:
    """What may be taken at a rate.

    Attributes:
        bytes_per_s: 0: no limit.
        bytes_max: that it holds at most.
        level_bytes: what it held at the time `at` (monotonic s); below 0 where overdrawn.
    """

    bytes_per_s: int
    bytes_max: float
    level_bytes: float
    at: float

    @classmethod
    def full(cls, bytes_per_s: int, piece_bytes: int, now: float) -> Bucket:
        """A full bucket that a piece of `piece_bytes` goes into."""
        bytes_max = max(bytes_per_s * BURST_S, piece_bytes)
        return cls(bytes_per_s, bytes_max, bytes_max, now)

    def level(self, now: float) -> float:
        """Bytes that may be taken now; infinite where there is no limit."""
        if not self.bytes_per_s:
            return math.inf
        gained = max(0.0, now - self.at) * self.bytes_per_s
        return min(self.bytes_max, self.level_bytes + gained)

    def wait_s(self, now: float) -> float:
        """How long until something may be taken."""
        level = self.level(now)
        return 0.0 if level > 0 else -level / self.bytes_per_s + 1e-3

    def taken(self, taken_bytes: float, now: float) -> Bucket:
        """After so much was taken."""
        if not self.bytes_per_s:
            return self
        return replace(self, level_bytes=self.level(now) - taken_bytes, at=max(self.at, now))


class Pace:
    """The bucket that all downloads of a device share. Used by the agent's thread."""

    def __init__(self, bytes_per_s: int = 0, piece_bytes: int = 1) -> None:
        self._bucket = Bucket.full(bytes_per_s, piece_bytes, 0.0)
        self._piece_bytes = piece_bytes

    def pieces(self, now: float) -> int | None:
        """Whole pieces that may be asked for now; None: as many as there are."""
        level = self._bucket.level(now)
        return None if math.isinf(level) else max(0, int(level // self._piece_bytes))

    def spend(self, spent_bytes: float, now: float) -> None:
        self._bucket = self._bucket.taken(spent_bytes, now)
