"""What a slot serves: exchanged between two batches, put back, and made lasting."""

from __future__ import annotations

import structlog

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.store import Store
from edge_agent.update.slot import Slot
from edge_agent.update.states import Committed, committed_name

log = structlog.get_logger(__name__)


def committed_after(committed: Committed | None, digest: str, served: str | None) -> Committed:
    """What is committed once `digest` is, where `served` served before it. Pure."""
    if committed is not None and committed.digest == digest:
        if served in (None, digest, committed.previous_digest):
            return committed
        return Committed(digest=digest, previous_digest=served)
    before = None if committed is None else committed.digest
    return Committed(digest=digest, previous_digest=before if served in (None, digest) else served)


class Exchange:
    """One slot's bundle and the one before it, which stays loaded until the commit.

    In memory nothing here can fail; what the disk refuses is raised as OSError, and may be
    done again.
    """

    def __init__(self, slot: Slot, store: Store) -> None:
        self._slot, self._store = slot, store
        self._name = committed_name(slot.name)
        self._incumbent: LoadedBundle | None = None

    @property
    def running(self) -> str | None:
        """The digest that serves now."""
        current = self._slot.current()
        return None if current is None else current.digest

    def serve(self, candidate: LoadedBundle) -> None:
        """Exchange the one reference; the incumbent stays loaded."""
        if self._slot.current() is not candidate:
            self._incumbent = self._slot.exchange(candidate)

    def retreat(self) -> bool:
        """Serve the incumbent again at once; whether it was there."""
        good, self._incumbent = self._incumbent, None
        if good is not None:
            self.replace(good)
        return good is not None

    def replace(self, good: LoadedBundle | None) -> LoadedBundle | None:
        """Serve `good`, or nothing, and let go what served, which is returned."""
        dropped = self._slot.exchange(good)
        if dropped is not None and dropped is not good:
            self._slot.release(dropped)
        return dropped

    def let_go(self, loaded: LoadedBundle) -> None:
        """Close a bundle that does not serve, after its last use."""
        if loaded is not self._slot.current():
            self._slot.release(loaded)

    def commit(self, digest: str, served: str | None = None) -> None:
        """Serve `digest` after every restart, and let the incumbent go. Raises OSError.

        `served` is what really served before it, and the way back from now on. Without it that
        is what was committed before.
        """
        committed = self._store.load(self._name, Committed)
        following = committed_after(committed, digest, served)
        if following != committed:
            self._store.save(self._name, following)
        incumbent, self._incumbent = self._incumbent, None
        if incumbent is not None:
            self.let_go(incumbent)

    def settle(self, candidate: str, good: str | None) -> None:
        """An attempt went back to `good`: `candidate`, where it is another, is not served after
        a restart. Raises OSError."""
        committed = self._store.load(self._name, Committed)
        if committed is not None and committed.digest == candidate != good:
            back_to = good or committed.previous_digest
            if back_to is None:
                self._store.remove(self._name)
            else:
                self._store.save(self._name, Committed(digest=back_to))
        log.warning("rolled_back", slot=self._slot.name, to=self.running)

    def go_back(self, good: LoadedBundle, why: str = "") -> None:
        """Serve another for good: because a person wants it, or because what serves is revoked, in
        words. Raises OSError.

        What was committed already, and something else stood in for, needs no other word.
        """
        left, known = self.running, self._store.load(self._name, Committed)
        if not why or known is None or known.digest != good.digest:
            following = Committed(
                digest=good.digest,
                previous_digest=left,
                by_hand=not why,
                why=why,
                revoked=bool(why),
            )
            self._store.save(self._name, following)
        self.replace(good)

    def keep(self) -> str | None:
        """A person wants what stands in for what was committed to serve for good; what was
        committed, None where nothing stands in for it. Raises OSError."""
        running, known = self.running, self._store.load(self._name, Committed)
        if running is None or known is None or known.digest == running:
            return None
        following = Committed(digest=running, previous_digest=known.digest, by_hand=True)
        self._store.save(self._name, following)
        return known.digest
