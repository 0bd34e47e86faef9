"""Every captured frame accounted for: inferred, dropped by a cause, or in flight."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

SUPERSEDED = "superseded"
ERROR = "error"
STOPPED = "stopped"
NO_MODEL = "no_model"
STALE = "stale"


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


class Ledger:
    """The accounts of all cameras; counted by many threads."""

    def __init__(self, cameras: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._accounts = {camera: Account() for camera in cameras}

    def captured(self, camera: str) -> None:
        self._change(camera, captured=1)

    def inferred(self, camera: str) -> None:
        self._change(camera, inferred=1)

    def dropped(self, camera: str, cause: str, frames: int = 1) -> None:
        with self._lock:
            account = self._accounts[camera]
            dropped = account.dropped | {cause: account.dropped.get(cause, 0) + frames}
            self._accounts[camera] = replace(account, dropped=dropped)

    def unreadable(self, camera: str) -> None:
        self._change(camera, unreadable=1)

    def retried(self, camera: str) -> None:
        self._change(camera, retries=1)

    def account(self, camera: str) -> Account:
        with self._lock:
            return self._accounts[camera]

    def _change(
        self,
        camera: str,
        captured: int = 0,
        inferred: int = 0,
        unreadable: int = 0,
        retries: int = 0,
    ) -> None:
        with self._lock:
            account = self._accounts[camera]
            self._accounts[camera] = Account(
                account.captured + captured,
                account.inferred + inferred,
                account.dropped,
                account.unreadable + unreadable,
                account.retries + retries,
            )
