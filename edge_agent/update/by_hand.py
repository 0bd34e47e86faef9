"""Another bundle that served before takes over while the agent runs; with the hub or without.

A person asks for the one before, or what serves makes way by itself (`making_way`). Without a
running agent `offline` does the first on the data folder alone.

It is persisted with the word of it, then acted upon, then told. What a kill or the disk keeps from
being told lies in what is committed (`Committed.untold`), and is told at the next start or tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_agent import faults
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import EdgeError
from edge_agent.store import Store
from edge_agent.update.exchange import Exchange
from edge_agent.update.history import hear, turn_number
from edge_agent.update.judging import Judging
from edge_agent.update.load import Loader
from edge_agent.update.slot_state import slot_state
from edge_agent.update.standing import objection
from edge_agent.update.states import Committed, committed_name
from edge_agent.update.trust import Refused
from edge_agent.update.turned import DONE, Turned
from protocol.errors import ProtocolError
from protocol.messages import as_text

REFUSED = "rollback_refused"
LEFT_REVOKED = "left_revoked"

log = structlog.get_logger(__name__)


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
        alert: tell the hub, by a name and in words.
        tell: tell it that another bundle took over in a slot, once for each number; False where
            the disk refused.
    """

    store: Store
    judging: Judging
    rescue: Callable[[Callable[[], None]], None]
    deliver: Callable[[ReturnEnded], object]
    alert: Callable[[str, str], None]
    tell: Callable[[str, Turned], bool]


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
        self._untold = True  # the last process may have been killed before it told

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
        running, committed = self._exchange.running, self._committed()
        if running is None or committed is None or committed.digest == running:
            return False, ""
        left, name = committed.digest, self._context.judging.bundles.name
        text = f"{self._slot}: {name(running)} stays in the place of {name(left)}"
        self._untold = True  # also where the disk refused: it may hold it all the same
        try:
            self._exchange.keep(self._word(BY_A_PERSON, text, left, running))
        except OSError as error:
            return False, self.refused(f"it could not be persisted: {error}")
        log.warning(DONE, slot=self._slot, left=left, serves=running)
        self.carry()
        return True, text

    def carry(self) -> None:
        """Take what the history or the hub did not hear yet to both of them, and forget it once
        they have it; asked at the start and at every tick."""
        if self._untold:
            self._untold = not self._carried()

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
        left, turn = self._exchange.running, self._turn
        name = self._context.judging.bundles.name
        before = "nothing" if left is None else name(left)
        text = f"{self._slot}: from {before} to {name(ended.digest)}"
        text += f": {turn.why}" if turn.why else ""
        self._untold = True  # also where the disk refused: it may hold it all the same
        try:
            word = self._word(turn, text, left, ended.digest)
            self._exchange.go_back(ended.loaded, word, turn.why)
        except OSError as error:
            self._exchange.let_go(ended.loaded)
            return False, self.refused(f"it could not be persisted: {error}")
        log.warning(turn.alert, slot=self._slot, left=left, serves=ended.digest, why=turn.why)
        self.carry()
        return True, text

    def _word(self, turn: Turn, text: str, left: str | None, serves: str) -> Turned:
        wall = self._context.judging.wall()
        return Turned(
            number=turn_number(self._slot, self._context.store, wall),
            at=wall,
            alert=turn.alert,
            text=as_text(text),
            serves=serves,
            left=left,
            by_hand=turn is BY_A_PERSON,
        )

    def _carried(self) -> bool:
        store, committed = self._context.store, self._committed()
        if committed is None or not committed.untold:
            return True
        try:
            faults.point("turn.persisted")
            noted = hear(self._slot, store)
            told = all(self._context.tell(self._slot, word) for word in committed.untold)
            if noted and told:
                following = committed.model_copy(update={"untold": ()})
                store.save(committed_name(self._slot), following)
        except OSError as error:
            log.debug("turn_not_told", slot=self._slot, error=str(error))
            return False
        return noted and told

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
