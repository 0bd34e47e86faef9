"""What keeps rollouts going: one loop, under a lease in the database."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from sqlmodel import Session

from cloud.database import Database, after_commit
from cloud.fleet import service as fleet
from cloud.loops import Loop
from cloud.lots import lots
from cloud.rollouts.gating import looks as gating
from cloud.rollouts.models import Rollout, RolloutGate
from cloud.rollouts.planning.planner import plan
from cloud.rollouts.planning.views import Action, LookAtGate
from cloud.rollouts.running import acting, floors, joining, lease, receiving
from cloud.rollouts.running.board import Board, Look, Watched, settled
from cloud.rollouts.running.lease import LeaseLost, Term
from cloud.telemetry.service import Step, Turn

log = logging.getLogger(__name__)

LEASE_PERIODS = 10
STEPS_MAX = 1000
ACTIONS_AT_ONCE = 500
"""In one transaction, so that others may write in between."""
REST_SHARE = 1.0
"""After a look the engine rests as long as it took: reports come in meanwhile, and are looked at
together."""
REST_MAX_S = 1.0


HearsSince = Callable[[], float | None]
"""Since when devices' words come into the database, in Unix seconds; None while they do not."""


def _always() -> float:
    return 0.0


class LooksAtGate(Protocol):
    """See `gating.look`."""

    def __call__(
        self, session: Session, rollout: Rollout, wave: int, *, settled: bool, now: float
    ) -> RolloutGate: ...


class Engine:
    """Looks at open rollouts every `period_s`, and at once when a device's report moved one.

    The lease outlives several periods, so that a second engine takes over only when this
    one is gone.
    """

    def __init__(
        self,
        database: Database,
        period_s: float,
        look_at_gate: LooksAtGate = gating.look,
        hears_since: HearsSince = _always,
    ) -> None:
        self._database = database
        self._lease_s = LEASE_PERIODS * period_s
        self._owner = uuid.uuid4().hex
        self._candidate = lease.Candidate(self._owner, self._lease_s)
        self._term: Term | None = None
        self._board: Board | None = None
        self._floors = floors.FloorWatch()
        self._look_at_gate = look_at_gate
        self._hears_since = hears_since
        self._led_since = 0.0
        self._stopping = threading.Event()
        self.loop = Loop("rollouts", period_s, self._settle)

    def start(self) -> None:
        self.loop.start()

    def stop(self) -> None:
        self._stopping.set()
        self.loop.stop()

    def on_words(self, session: Session, words: Sequence[Step | Turn]) -> None:
        """Take devices' words, and look once they are committed."""
        if receiving.on_words(session, words):
            after_commit(session, self.loop.wake)

    def tick(self, now: float) -> bool:
        """One look at every rollout for which something may follow, and the next step of each;
        True where something was done."""
        try:
            return self._tick(now)
        except LeaseLost:
            self._board = None
            return False

    def _tick(self, now: float) -> bool:
        with self._database.reading() as session:
            self._term = lease.seen(session)
            if not self._candidate.may_lead(session, self._term, now):
                self._board = None
                return False
            led = self._term is not None and self._term.owner == self._owner
            if not led:
                self._led_since = now
            # A board is of use only as long as nobody else has led; and not after a fault.
            board, self._board = (self._board if led else None) or Board(), None
            board.refresh(session)
            looks = board.looks(session, self._heard_since())
        self._board = board
        if board.seen or not led or (board.busy and self._is_half_over(now)):
            with self._acting(now) as session:
                fleet.forget(session, board.seen)
        acted = self._take_steps(board, looks, now)
        self._tell_floors(now)
        return acted or board.more

    def _heard_since(self) -> float | None:
        """See `RolloutView`. What came before this engine led, another one may have left."""
        since = self._hears_since()
        return None if since is None else max(since, self._led_since)

    def _take_steps(self, board: Board, looks: Sequence[Look], now: float) -> bool:
        """The next step of each rollout; one that fails does not keep the others."""
        acted, fault = False, None
        for look in looks:
            if self._stopping.is_set():
                break
            try:
                acted |= self._step(board, look, now)
            except LeaseLost:
                raise
            except Exception as error:
                log.exception("a step of rollout %s failed", look.watched.head.id)
                fault = fault or error
        if fault is not None:
            raise fault
        return acted

    def _step(self, board: Board, look: Look, now: float) -> bool:
        watched = look.watched
        if watched.joiners:
            return self._join(board, watched, now)
        views = list(watched.views.values())
        actions = plan(look.view, views, now)
        if not actions:
            watched.changed = False
            return settled(watched.head, views) and self._watch_no_more(watched, now)
        acted = False
        for some in _lots([a for a in actions if isinstance(a, acting.DeviceAction)]):
            if self._stopping.is_set():
                return acted
            acted |= self._act_on_devices(board, watched, some, now)
        for action in actions:
            if isinstance(action, LookAtGate):
                acted |= self._judge(watched, action, now)
            elif not isinstance(action, acting.DeviceAction):
                acted |= self._act(watched, action, now)
        return acted

    def _act_on_devices(
        self, board: Board, watched: Watched, actions: Sequence[acting.DeviceAction], now: float
    ) -> bool:
        """Carry out what is for devices, but for those that have changed since they were read."""
        ids = acting.devices_of(actions)
        board.stale.update(ids)
        with self._acting(now) as session:
            rollout = _unchanged(session, watched)
            if rollout is None:
                return False
            changed = fleet.changed_of(session, ids).keys()
            work = acting.at_hand(session, rollout, ids, now)
            return acting.act_on_all(
                work, [a for a in actions if changed.isdisjoint(acting.devices_of([a]))]
            )

    def _act(self, watched: Watched, action: Action, now: float) -> bool:
        """Carry out what is for the rollout as a whole."""
        with self._acting(now) as session:
            rollout = _unchanged(session, watched)
            return rollout is not None and acting.act(session, rollout, action, now)

    def _judge(self, watched: Watched, action: LookAtGate, now: float) -> bool:
        """Have a gate looked at. That reads much and takes long: it is done beside the writers,
        and only what it found is written as they are kept out."""
        with self._database.reading() as session:
            rollout = session.get_one(Rollout, watched.head.id)
            self._look_at_gate(session, rollout, action.wave, settled=action.settled, now=now)
            found = [*session.new, *session.dirty]
            session.expunge_all()
        with self._acting(now) as session:
            if _unchanged(session, watched) is None:
                return False
            session.add_all(found)
        return True

    def _join(self, board: Board, watched: Watched, now: float) -> bool:
        for some in lots(sorted(watched.joiners)):
            with self._acting(now) as session:
                rollout = _unchanged(session, watched)
                if rollout is None:
                    return False
                joining.join(session, rollout, some, now)
            board.joined(watched, some)
        return True

    def _watch_no_more(self, watched: Watched, now: float) -> bool:
        with self._acting(now) as session:
            rollout = _unchanged(session, watched)
            if rollout is None:
                return False
            rollout.watched = False
            session.add(rollout)
        return True

    @contextmanager
    def _acting(self, now: float) -> Iterator[Session]:
        """A transaction in which nobody else may act. Raises LeaseLost where another one may."""
        with self._database.transaction() as session:
            held = lease.hold(session, self._owner, now, self._lease_s, self._term)
            yield session
        self._term = held

    def _is_half_over(self, now: float) -> bool:
        return self._term is None or self._term.expires_at - now <= self._lease_s / 2

    def _tell_floors(self, now: float) -> None:
        """Bring models' floors into the desired states."""
        with self._database.reading() as session:
            stale = self._floors.look(session, now)
        for some in lots(stale, floors.DEVICES_AT_ONCE):
            with self._acting(now) as session:
                floors.spread(session, some, self._floors.floors)
        self._floors.told()

    def _settle(self) -> None:
        """Look until nothing follows; the bound keeps a fault from becoming a busy loop."""
        for _ in range(STEPS_MAX):
            began = time.monotonic()
            acted = self.tick(time.time())
            rest_s = min(REST_MAX_S, REST_SHARE * (time.monotonic() - began))
            if self._stopping.wait(rest_s) or not acted:
                return


def _unchanged(session: Session, watched: Watched) -> Rollout | None:
    """The rollout's row, where it still is what was planned from."""
    row = session.get(Rollout, watched.head.id, with_for_update=True)
    head = watched.head
    if row is None or any(getattr(row, name) != getattr(head, name) for name in head._fields):
        return None
    return row


def _lots(actions: Sequence[acting.DeviceAction]) -> Iterator[list[acting.DeviceAction]]:
    """The actions in their order, some at a time; one is never divided."""
    some: list[acting.DeviceAction] = []
    size = 0
    for action in actions:
        some.append(action)
        size += len(acting.devices_of([action]))
        if size >= ACTIONS_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some
