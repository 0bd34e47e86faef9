"""What a download still wants, and when to ask for it; pure.

A bundle comes in two stages: its manifest, of which only the digest and the size are
known, then the blobs that the manifest lists and that the device does not hold. Chunks
arrive in any order, more than once, or not at all; whoever carries them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from protocol.chunks import CHUNK_BYTES, from_ranges, to_ranges
from protocol.messages import BlobWant

RANGES_MAX = 4096
BLOBS_MAX = 64


class Ask(str, Enum):
    """What a download should do now."""

    NOTHING = "nothing"
    WANTS = "wants"
    HTTP = "http"


@dataclass(frozen=True)
class Timing:
    """After how long without a new chunk to ask again, and to turn to HTTP (s)."""

    stall_s: float
    http_after_s: float


@dataclass
class Download:
    """Chunks lacking per blob, with the times that decide what to ask.

    Attributes:
        lacking: indexes of chunks that have not arrived, by blob; complete blobs are gone.
        progressed_at: when the last new chunk came, or the download began (s).
        asked_at: when wants were last published; None asks at once.
    """

    lacking: dict[str, set[int]]
    progressed_at: float
    asked_at: float | None = None
    http_tried_at: float | None = None
    arrived: int = 0
    wrong: int = 0
    _asked: set[tuple[str, int]] = field(default_factory=set, repr=False)

    @classmethod
    def begin(
        cls, counts: Mapping[str, int], held: Mapping[str, Iterable[int]], now: float
    ) -> Download:
        """A download of blobs with so many chunks each, some of which are held."""
        lacking = {
            sha256: set(range(count)) - set(held.get(sha256, ()))
            for sha256, count in counts.items()
        }
        return cls({s: indexes for s, indexes in lacking.items() if indexes}, progressed_at=now)

    @property
    def complete(self) -> bool:
        return not self.lacking

    def lacks(self, sha256: str, index: int) -> bool:
        return index in self.lacking.get(sha256, ())

    @property
    def asked(self) -> int:
        """Chunks that were asked for and have not come."""
        return len(self._asked)

    def accept(self, sha256: str, index: int, now: float) -> bool:
        """A chunk that was lacking is here and its digest is right; whether it was asked for."""
        asked = (sha256, index) in self._asked
        self._asked.discard((sha256, index))
        self.lacking[sha256].discard(index)
        if not self.lacking[sha256]:
            del self.lacking[sha256]
        self.arrived += 1
        self.progressed_at = now
        if not self._asked:
            self.asked_at = None  # all that was asked for is here: ask for more
        return asked

    def reject(self) -> None:
        """A chunk was not what its digest says: it stays lacking, and is counted."""
        self.wrong += 1

    def restart(self, sha256: str, count: int) -> None:
        """A blob whose chunks have no digests of their own came out wrong: all of it again."""
        self.wrong += 1
        self.lacking[sha256] = set(range(count))

    def link_restored(self) -> None:
        """A new session: what was asked in the old one may have gone with it."""
        self.asked_at = None

    def ask(
        self, now: float, timing: Timing, *, connected: bool, chunks_max: int | None = None
    ) -> Ask:
        """What to do now; the caller does it by `ask_again` or says `http_tried`.

        Args:
            chunks_max: that may be asked for now; None: as many as there are.
        """
        if self.complete:
            return Ask.NOTHING
        may = chunks_max is None or chunks_max > 0
        if connected and self.asked_at is None and not may:
            self.progressed_at = now  # it waits for its own pace, which is no stall
            return Ask.NOTHING
        still_s = now - self.progressed_at
        if still_s >= timing.http_after_s and _ago(now, self.http_tried_at) >= timing.http_after_s:
            return Ask.HTTP
        if not connected or not may:
            return Ask.NOTHING
        stalled = min(still_s, _ago(now, self.asked_at)) >= timing.stall_s
        return Ask.WANTS if self.asked_at is None or stalled else Ask.NOTHING

    def ask_again(self, now: float, chunks_max: int | None = None) -> tuple[BlobWant, ...]:
        """The lacking chunks as the hub is asked for them now, within the message's bounds
        and no more than `chunks_max`."""
        self.asked_at, self._asked = now, set()
        wants = []
        for sha256, indexes in list(self.lacking.items())[:BLOBS_MAX]:
            room = len(indexes) if chunks_max is None else chunks_max - len(self._asked)
            if room <= 0:
                break
            chosen = indexes if room >= len(indexes) else sorted(indexes)[:room]
            ranges = to_ranges(chosen)[:RANGES_MAX]
            self._asked |= {(sha256, index) for index in from_ranges(ranges)}
            wants.append(BlobWant(sha256=sha256, ranges=ranges))
        return tuple(wants)

    def http_tried(self, now: float) -> None:
        self.http_tried_at = now


def manifest_chunks(manifest_bytes: int) -> int:
    """How many chunks of CHUNK_BYTES a manifest of so many bytes has."""
    return -(-manifest_bytes // CHUNK_BYTES)


def _ago(now: float, then: float | None) -> float:
    return float("inf") if then is None else now - then
