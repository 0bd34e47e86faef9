"""What a slot serves: exchanged between two batches, put back, and made lasting."""

from __future__ import annotations

import structlog

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.store import Store
from edge_agent.update.slot import Slot
from edge_agent.update.states import Committed, committed_name
from edge_agent.update.turned import UNTOLD_MAX, Turned

log = structlog.get_logger(__name__)


def committed_after(committed: Committed | None, digest: str, served: str | None) -> Committed:
    """What is committed once `digest` is, where `served` served before it. Pure."""
    untold = () if committed is None else committed.untold
    if committed is not None and committed.digest == digest:
        if served in (None, digest, committed.previous_digest):
            return committed
        return Committed(digest=digest, previous_digest=served, untold=untold)
    before = None if committed is None else committed.digest
    previous = before if served in (None, digest) else served
    return Committed(digest=digest, previous_digest=previous, untold=untold)


def turned_to(committed: Committed | None, turn: Turned, why: str = "") -> Committed:
    """What is committed once `turn` is made, for good: by a person, or because what served is
    revoked, in words. Pure.

    What was committed already, and something else stood in for, needs no other word than that it
    serves again.
    """
    untold = (*(() if committed is None else committed.untold), turn)[-UNTOLD_MAX:]
    if committed is not None and committed.digest == turn.serves and not turn.by_hand:
        return committed.model_copy(update={"untold": untold})
    return Committed(
        digest=turn.serves,
        previous_digest=turn.left,
        by_hand=turn.by_hand,
        why=why,
        revoked=not turn.by_hand,
        untold=untold,
    )


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
                following = Committed(digest=back_to, untold=committed.untold)
                self._store.save(self._name, following)
        log.warning("rolled_back", slot=self._slot.name, to=self.running)

    def go_back(self, good: LoadedBundle, turn: Turned, why: str = "") -> None:
        """Serve another for good, as `turned_to` says. Raises OSError."""
        self._turn(turn, why)
        self.replace(good)

    def keep(self, turn: Turned) -> None:
        """A person wants what stands in for what was committed to serve for good. Raises
        OSError."""
        self._turn(turn)

    def _turn(self, turn: Turned, why: str = "") -> None:
        known = self._store.load(self._name, Committed)
        self._store.save(self._name, turned_to(known, turn, why))
