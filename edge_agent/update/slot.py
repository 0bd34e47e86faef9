"""The slot: the one reference that says which bundle serves a group of cameras."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edge_agent.detect.bundle import LoadedBundle


class Slot:
    """Holds the serving bundle; an exchange takes effect between two frames.

    `current` is a plain read. A user holds a lease for as long as it runs the bundle, and
    a bundle that was released is closed when its last lease ends. The lock guards the
    counts alone: nothing is loaded, run or closed under it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._current: LoadedBundle | None = None
        self._lock = threading.Lock()
        self._leases: dict[LoadedBundle, int] = {}
        self._released: set[LoadedBundle] = set()

    def current(self) -> LoadedBundle | None:
        """The bundle that serves now."""
        return self._current

    def exchange(self, new: LoadedBundle | None) -> LoadedBundle | None:
        """Make `new` the serving bundle; return the previous one, still loaded.

        The previous one can be exchanged back, or be let go with `release`.
        Raises ValueError where `new` was released already.
        """
        with self._lock:
            if new is not None and new in self._released:
                raise ValueError(f"bundle {new.digest[:12]} was released; load it again")
            previous, self._current = self._current, new
        return previous

    def release(self, old: LoadedBundle) -> None:
        """Close `old` now, or when its last lease ends. It must not be the serving one."""
        with self._lock:
            if old is self._current:
                raise ValueError(f"bundle {old.digest[:12]} serves {self.name}; exchange it first")
            if self._leases.get(old, 0):
                self._released.add(old)
                return
        old.detector.close()

    @contextmanager
    def lease(self) -> Iterator[LoadedBundle | None]:
        """The serving bundle, kept open while the `with` block runs; None where there is none."""
        with self._lock:
            bundle = self._current
            if bundle is not None:
                self._leases[bundle] = self._leases.get(bundle, 0) + 1
        try:
            yield bundle
        finally:
            if bundle is not None and self._end_lease(bundle):
                bundle.detector.close()

    def _end_lease(self, bundle: LoadedBundle) -> bool:
        """Count the lease out; whether the bundle is to be closed now."""
        with self._lock:
            self._leases[bundle] -= 1
            if self._leases[bundle]:
                return False
            del self._leases[bundle]
            if bundle in self._released:
                self._released.discard(bundle)
                return True
            return False
