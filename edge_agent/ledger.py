"""Every captured frame accounted for: inferred, dropped by a cause, or in flight."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge_agent.update.slot import Slot

SUPERSEDED = "superseded"
ERROR = "error"
STOPPED = "stopped"
NO_MODEL = "no_model"
STALE = "stale"

NOBODY = ""
"""In place of a digest: nothing served."""


@dataclass(frozen=True)
class Account:
    """Frames of one camera since the agent started.

    Attributes:
        unreadable: images of the source that could not be read and so were never captured.
        retries: times that its source was lost or did not open, and was tried again.
    """

    captured: int = 0
    inferred: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    retries: int = 0

    @property
    def in_flight(self) -> int:
        return self.captured - self.inferred - sum(self.dropped.values())


@dataclass(frozen=True)
class Share:
    """What is counted against one bundle of a camera's account.

    Attributes:
        digest: of the bundle; NOBODY where nothing served.
        serves: whether it serves now.
        dropped: frames by cause; those that it failed are among them.
    """

    slot: str
    digest: str
    serves: bool
    captured: int
    dropped: dict[str, int]

    def since(self, before: Share | None) -> tuple[int, dict[str, int]]:
        """Captured frames, and dropped ones by cause, that were counted after `before` was read."""
        if before is None:
            return self.captured, self.dropped
        known = before.dropped
        dropped = {c: n - known.get(c, 0) for c, n in self.dropped.items() if n > known.get(c, 0)}
        return self.captured - before.captured, dropped


@dataclass(slots=True)
class _Count:
    captured: int = 0
    inferred: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    retries: int = 0


class Ledger:
    """The accounts of all cameras, and the shares of bundles in them; counted by many threads.

    What a bundle fails is counted against it, whatever serves by then. All else is counted
    against what serves at that moment, by the slots of the cameras in `slots`, and against
    nobody where a camera has none there.
    """

    def __init__(self, cameras: Iterable[str], slots: Mapping[str, Slot] | None = None) -> None:
        self._lock = threading.Lock()
        self._counts = {camera: _Count() for camera in cameras}
        self._shares: dict[str, dict[str, _Count]] = {camera: {} for camera in self._counts}
        self._slots = dict(slots or {})

    @property
    def cameras(self) -> tuple[str, ...]:
        return tuple(self._counts)

    def captured(self, camera: str) -> None:
        with self._lock:
            self._counts[camera].captured += 1
            self._share(camera).captured += 1

    def inferred(self, camera: str) -> None:
        with self._lock:
            self._counts[camera].inferred += 1

    def dropped(self, camera: str, cause: str, frames: int = 1, by: str | None = None) -> None:
        """Count dropped frames; `by` is the digest that had them, None where none had yet."""
        with self._lock:
            self._counts[camera].dropped[cause] += frames
            self._share(camera, by).dropped[cause] += frames

    def unreadable(self, camera: str) -> None:
        with self._lock:
            self._counts[camera].unreadable += 1

    def retried(self, camera: str) -> None:
        with self._lock:
            self._counts[camera].retries += 1

    def account(self, camera: str) -> Account:
        with self._lock:
            now = self._counts[camera]
            return Account(
                now.captured, now.inferred, dict(now.dropped), now.unreadable, now.retries
            )

    def shares(self, camera: str) -> list[Share]:
        """By bundle; what serves now comes after those that did, and nobody last.

        They add up to the account's captured and dropped.
        """
        slot = self._slots[camera].name if camera in self._slots else ""
        with self._lock:
            serving = self._serving(camera)
            shares = [
                Share(slot, digest, digest == serving, count.captured, dict(count.dropped))
                for digest, count in self._shares[camera].items()
            ]
        return sorted(shares, key=lambda share: (share.digest == NOBODY, share.serves))

    def _serving(self, camera: str) -> str:
        slot = self._slots.get(camera)
        bundle = None if slot is None else slot.current()
        return NOBODY if bundle is None else bundle.digest

    def _share(self, camera: str, by: str | None = None) -> _Count:
        digest = self._serving(camera) if by is None or camera not in self._slots else by
        shares = self._shares[camera]
        if digest not in shares:
            shares[digest] = _Count()
        return shares[digest]
