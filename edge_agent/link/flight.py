"""Which entries of a stream are on their way; pure.

Go-back-N: entries are sent in order, acknowledged by the highest contiguous sequence, and
when nothing moves for a while everything after the acknowledged one is sent again. The
hub ignores what it has, so sending twice costs bytes and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Flight:
    """Entries of one stream in flight, each by its (last) sequence.

    Attributes:
        acked: everything up to this sequence is stored at the hub.
        sequences: in flight, ascending, all above `acked`.
        moved_at: when something was last sent on an empty flight, or acknowledged (s).
    """

    acked: int = 0
    sequences: tuple[int, ...] = ()
    moved_at: float = 0.0

    @property
    def sent(self) -> int:
        """Everything up to this sequence has been sent since the last rewind."""
        return self.sequences[-1] if self.sequences else self.acked

    def room(self, inflight_max: int) -> int:
        """How many more entries may be sent."""
        return max(0, inflight_max - len(self.sequences))

    def send(self, sequence: int, now: float) -> Flight:
        """The entry that ends at `sequence` goes out. Raises ValueError out of order."""
        if sequence <= self.sent:
            raise ValueError(f"sequence {sequence} is not after {self.sent}")
        moved_at = self.moved_at if self.sequences else now
        return replace(self, sequences=(*self.sequences, sequence), moved_at=moved_at)

    def acknowledge(self, sequence: int, now: float) -> Flight:
        """The hub has everything up to `sequence`. A late acknowledgement changes nothing."""
        if sequence <= self.acked:
            return self
        left = tuple(s for s in self.sequences if s > sequence)
        return Flight(acked=sequence, sequences=left, moved_at=now)

    def rewind(self) -> Flight:
        """Nothing is in flight any more: the link was lost, or the wait was too long."""
        return replace(self, sequences=())

    def overdue(self, now: float, resend_after_s: float) -> bool:
        """Whether something is in flight and nothing moved for `resend_after_s`."""
        return bool(self.sequences) and now - self.moved_at >= resend_after_s
