"""Another bundle that served before takes over while the agent runs; with the hub or without.

A person asks for the one before, or what serves makes way by itself (`making_way`). Without a
running agent `offline` does the first on the data folder alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import EdgeError
from edge_agent.store import Store
from edge_agent.update.exchange import Exchange
from edge_agent.update.history import leave, take_back
from edge_agent.update.judging import Judging
from edge_agent.update.load import Loader
from edge_agent.update.slot_state import slot_state
from edge_agent.update.standing import objection
from edge_agent.update.states import Committed, committed_name
from edge_agent.update.trust import Refused
from protocol.errors import ProtocolError

DONE, REFUSED = "rolled_back_by_hand", "rollback_refused"
LEFT_REVOKED = "left_revoked"

log = structlog.get_logger(__name__)


class Alerting(Protocol):
    """Tells the hub, by a name and in words; where another bundle serves for good also in digests,
    for what the hub knows of the slot's past hangs on that."""

    def __call__(
        self,
        name: str,
        text: str,
        /,
        *,
        slot: str | None = None,
        left: str | None = None,
        serves: str | None = None,
    ) -> None: ...


@dataclass(frozen=True)
class Turn:
    """What makes another bundle take over: the alert that tells it, and why, in words; "" where a
    person wants it."""

    alert: str
    why: str = ""


BY_A_PERSON = Turn(DONE)
WHOLE_AGAIN = Turn("serves_again", "what was committed is whole again")


@dataclass(frozen=True)
class ReturnEnded:
    """The bundle to go back to is loaded, or `reason` says why not."""

    slot: str
    digest: str
    loaded: LoadedBundle | None = None
    reason: str = ""


@dataclass(frozen=True)
class ReturnContext:
    """What going back shares over all slots.

    Attributes:
        rescue: run a job beside what the updates' worker is busy with.
        deliver: bring its end to the agent's thread.
    """

    store: Store
    judging: Judging
    rescue: Callable[[Callable[[], None]], None]
    deliver: Callable[[ReturnEnded], object]
    alert: Alerting


class Return:
    """Goes back within one slot. Used by the agent's thread."""

    def __init__(
        self, slot: str, exchange: Exchange, loader: Loader, context: ReturnContext
    ) -> None:
        self._slot, self._exchange, self._loader = slot, exchange, loader
        self._context = context
        self.under_way = False
        self._turn = BY_A_PERSON
        self._scene: tuple[object, ...] = ()

    @property
    def by_itself(self) -> bool:
        """Whether what is under way is nobody's wish."""
        return self._turn is not BY_A_PERSON

    def begin(self) -> None:
        """Load what served before, which `ended` exchanges; `refusal` has found nothing."""
        previous = self._previous()
        if previous is not None:
            self.turn_to(previous, BY_A_PERSON)

    def turn_to(self, digest: str, turn: Turn) -> None:
        """Load a bundle that has served here, which `ended` exchanges for good."""
        self.under_way, self._turn, self._scene = True, turn, self._look()
        self._context.rescue(lambda: self._load(digest))

    def keep(self) -> tuple[bool, str]:
        """A person wants what stands in for what was committed. Whether it stays, and words for
        it; "" where nothing stands in."""
        store, running = self._context.store, self._exchange.running
        try:
            left = None if running is None else self._exchange.keep()
            if running is None or left is None:
                return False, ""
            take_back(store, self._slot, running)
            leave(store, self._slot, left)
        except OSError as error:
            return False, self.refused(f"it could not be persisted: {error}")
        bundles = self._context.judging.bundles
        text = f"{self._slot}: {bundles.name(running)} stays in the place of {bundles.name(left)}"
        log.warning(DONE, slot=self._slot, left=left, serves=running)
        self._context.alert(DONE, text, slot=self._slot, left=left, serves=running)
        return True, text

    def refusal(self) -> str:
        """Why there is nothing to go back to, in words, which the hub hears too; else empty."""
        previous = self._previous()
        if previous is None:
            return self.refused("nothing served before what serves now")
        if previous == self._exchange.running:
            name = self._context.judging.bundles.name(previous)
            return self.refused(f"{name} serves already: what was committed after it cannot")
        why = self._may_not(previous)
        return self.refused(why) if why else ""

    def objection(self) -> str:
        """Why the bundle before should serve again only where a person insists, in words, which
        the hub hears too; else empty."""
        previous = self._previous()
        if previous is None or previous == self._exchange.running:
            return ""
        name = self._context.judging.bundles.name
        why = objection(slot_state(self._slot, self._context.store), name)
        return self.refused(why) if why else ""

    def _may_not(self, digest: str) -> str:
        """Why a bundle may not serve again, by what is known now; else empty."""
        try:
            answer = self._context.judging.held(digest)
        except OSError as error:
            log.warning("bundle_unreadable", digest=digest, error=str(error))
            return f"bundle {digest[:12]} is damaged or gone here; roll it out from the hub"
        return answer.reason if isinstance(answer, Refused) else ""

    def _previous(self) -> str | None:
        committed = self._committed()
        return None if committed is None else committed.previous_digest

    def _committed(self) -> Committed | None:
        return self._context.store.load(committed_name(self._slot), Committed)

    def _look(self) -> tuple[object, ...]:
        """What a turn by itself rests on: it was right for this, and need not be for another."""
        committed = self._committed()
        digest = None if committed is None else committed.digest
        return self._exchange.running, digest, dict(self._context.judging.floors())

    def ended(self, ended: ReturnEnded, *, clear: bool) -> tuple[bool, str]:
        """It is loaded, and serves from here on, after every restart too. Whether it does, and
        words for it; `clear`: no attempt stands in the way."""
        try:
            return self._end(ended, clear=clear)
        finally:
            self.under_way, self._turn = False, BY_A_PERSON

    def _end(self, ended: ReturnEnded, *, clear: bool) -> tuple[bool, str]:
        reason = ended.reason if clear else "an update is being exchanged; ask again"
        reason = reason or self._overtaken(ended.digest)
        if ended.loaded is None or reason:
            if ended.loaded is not None:
                self._exchange.let_go(ended.loaded)
            return False, self.refused(reason)
        left, turn, store = self._exchange.running, self._turn, self._context.store
        bundles = self._context.judging.bundles
        names = ["nothing" if left is None else bundles.name(left), bundles.name(ended.digest)]
        try:
            if not self.by_itself:
                take_back(store, self._slot, ended.digest)
                if left is not None:
                    leave(store, self._slot, left)
            self._exchange.go_back(ended.loaded, turn.why)
        except OSError as error:
            self._exchange.let_go(ended.loaded)
            return False, self.refused(f"it could not be persisted: {error}")
        text = f"{self._slot}: from {names[0]} to {names[1]}"
        text += f": {turn.why}" if turn.why else ""
        log.warning(turn.alert, slot=self._slot, left=left, serves=ended.digest, why=turn.why)
        self._context.alert(turn.alert, text, slot=self._slot, left=left, serves=ended.digest)
        return True, text

    def _overtaken(self, digest: str) -> str:
        """Why what is loaded is not wanted any more; else empty. Loading takes a while, in which a
        floor may be raised, and an attempt may come to its end."""
        if self.by_itself and self._look() != self._scene:
            return "what it was to serve in the place of has changed meanwhile"
        return self._may_not(digest)

    def _load(self, digest: str) -> None:
        """On a worker: read all of it, then load it."""
        loaded, reason = None, ""
        try:
            self._context.judging.bundles.verify(digest, to_serve=True)
            loaded = self._loader.beside(digest)
        except (EdgeError, ProtocolError, OSError) as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything
            reason = f"{type(error).__name__}: {error}"
        self._context.deliver(ReturnEnded(self._slot, digest, loaded, reason))

    def refused(self, reason: str) -> str:
        """The reason, which the hub hears too."""
        if self.by_itself:  # nobody asked, so nobody is refused
            log.warning("not_turned", slot=self._slot, reason=reason)
            return reason
        log.warning(REFUSED, slot=self._slot, reason=reason)
        self._context.alert(REFUSED, f"{self._slot}: {reason}")
        return reason
