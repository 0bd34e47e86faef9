"""What the engine knows between two looks, so that a look reads what has changed and no more.

The board holds a view of every device of every rollout that is watched. It is true as long as
nobody but its engine carries actions out: whatever others change, they count the device as
changed (`fleet.touch`), and what the engine changes itself it puts on `stale`. An engine that
has lost its lease throws its board away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlmodel import Session

from cloud.fleet import service as fleet
from cloud.lots import lots
from cloud.rollouts import queries
from cloud.rollouts.models import Rollout
from cloud.rollouts.planning.ranking import IDLE, outranks
from cloud.rollouts.planning.views import DeviceView, Policy, RolloutView
from cloud.rollouts.queries import Head
from cloud.rollouts.request.spec import RolloutSpec, spec_of
from cloud.rollouts.running import devices, joining
from cloud.rollouts.running.looking import Brought, brought_by, policy_of, rollout_view
from cloud.rollouts.states import RolloutState
from protocol.states import ExecutionState

CHANGES_AT_ONCE = 20_000
_JOINED = (RolloutState.RUNNING.value, RolloutState.PAUSED.value)


@dataclass
class Watched:
    """A rollout that the engine looks at.

    Attributes:
        spec: where devices may join it.
        views: by device; complete once it has been loaded.
        outranking: watched rollouts that have the devices which both are meant for.
        gone: such ones that are watched no more; `covered`: the devices that they have.
        moving: devices for which something may follow by itself, as time passes.
        joiners: devices that are to join it.
        changed: something of it changed since it was last planned in vain.
    """

    head: Head
    waves: int
    spec: RolloutSpec | None
    policy: Policy
    brought: Brought
    views: dict[str, DeviceView] = field(default_factory=dict)
    outranking: tuple[str, ...] = ()
    gone: frozenset[str] = frozenset()
    covered: set[str] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)
    joiners: set[str] = field(default_factory=set)
    loaded: bool = False
    changed: bool = True

    def put(self, view: DeviceView) -> None:
        """Take a view in the place of the one there was."""
        if self.views.get(view.device_id) == view:
            return
        self.views[view.device_id] = view
        self.changed = True
        if view.open or self._may_start_again(view):
            self.moving.add(view.device_id)
        else:
            self.moving.discard(view.device_id)

    def is_due(self) -> bool:
        """Whether to plan it: while it is open time alone may bring something."""
        ended = self.head.ended_at is not None
        return self.changed or not ended or bool(self.moving)

    def _may_start_again(self, view: DeviceView) -> bool:
        odd = view.running_digest not in (None, view.digest) and not view.by_hand_marked
        taken = view.newer or view.pinned or view.reverts or not view.owned
        return odd and not taken and view.attempt < self.policy.attempts_max


@dataclass(frozen=True)
class Look:
    """A rollout to plan, as it was read."""

    watched: Watched
    view: RolloutView


class Board:
    """Everything that is watched. Attributes:

    seen: changes of devices that are on the board, by the number that was read; whoever leads
        takes them away.
    stale: devices to read again, though nobody counted them as changed.
    more: there are changes that have not been read yet.
    """

    def __init__(self) -> None:
        self.watched: dict[str, Watched] = {}
        self.seen: dict[str, int] = {}
        self.stale: set[str] = set()
        self.more = False
        self._ranks: list[tuple[Any, ...]] = []

    @property
    def busy(self) -> bool:
        """Whether a rollout is under way."""
        return any(w.head.ended_at is None for w in self.watched.values())

    def refresh(self, session: Session) -> None:
        """Read what has changed. `session` sees one moment; all of the board is of that one.

        What fails halfway leaves a board that has to be thrown away.
        """
        self._take_heads(session, queries.heads(session))
        seen = fleet.changed(session, CHANGES_AT_ONCE)
        self.more = len(seen) >= CHANGES_AT_ONCE
        again = self.stale | seen.keys()
        for watched in self.watched.values():
            if watched.loaded:
                self._read(session, watched, again & watched.views.keys())
                self._ask_joiners(session, watched, again)
            else:
                self._load(session, watched)
        self.seen, self.stale = seen, set()

    def joined(self, watched: Watched, device_ids: Iterable[str]) -> None:
        """Have devices that joined a rollout read with the next refresh."""
        for device_id in device_ids:
            watched.joiners.discard(device_id)
            watched.views.setdefault(device_id, _UNREAD)
            self.stale.add(device_id)

    def looks(self, session: Session, heard_since: float | None) -> list[Look]:
        """The rollouts to plan, oldest first."""
        return [
            Look(
                w,
                rollout_view(
                    session, w.head, w.waves, w.policy, w.brought, heard_since=heard_since
                ),
            )
            for w in self.watched.values()
            if w.is_due()
        ]

    def _take_heads(self, session: Session, heads: Sequence[Head]) -> None:
        before, self.watched = self.watched, {}
        for head in heads:
            if not head.watched or head.state in IDLE - {RolloutState.STOPPED.value}:
                continue
            known = before.get(head.id)
            if known is None:
                known = _new(session.get_one(Rollout, head.id), head)
            elif known.head != head:
                # The way back of each device is read only where it is asked for.
                known.loaded = known.loaded and known.head.reverting == head.reverting
                known.head, known.changed = head, True
            self.watched[head.id] = known
        ranks = [(*head[: Head._fields.index("wave")], head.watched) for head in heads]
        if ranks != self._ranks:
            self._ranks = ranks
            for watched in self.watched.values():
                self._rank(session, watched, heads)

    def _rank(self, session: Session, mine: Watched, heads: Iterable[Head]) -> None:
        """See anew which rollouts outrank one, and at which devices."""
        above = [head.id for head in heads if outranks(head, mine.head)]
        outranking = tuple(other for other in above if other in self.watched)
        gone = frozenset(above) - self.watched.keys()
        if (outranking, gone) == (mine.outranking, mine.gone):
            return
        if not gone >= mine.gone:
            mine.covered, mine.gone = set(), frozenset()
        for other in gone - mine.gone:
            self._know_devices(session, mine)
            mine.covered.update(mine.views.keys() & set(queries.targeted_ids(session, other)))
        for other in outranking:
            self._know_devices(session, self.watched[other])
        mine.outranking, mine.gone = outranking, gone
        for view in list(mine.views.values()) if mine.loaded else ():
            newer = self._is_newer(mine, view.device_id)
            if newer != view.newer:
                mine.put(replace(view, newer=newer))
                self.stale.add(view.device_id)

    def _know_devices(self, session: Session, watched: Watched) -> None:
        """Have the ids, by which others tell what it outranks them at."""
        if not watched.loaded and not watched.views:
            ids = queries.targeted_ids(session, watched.head.id)
            watched.views = dict.fromkeys(ids, _UNREAD)

    def _is_newer(self, mine: Watched, device_id: str) -> bool:
        above = (self.watched.get(other) for other in mine.outranking)
        return device_id in mine.covered or any(w and device_id in w.views for w in above)

    def _load(self, session: Session, watched: Watched) -> None:
        watched.views.clear()
        watched.moving.clear()
        self._read(session, watched, queries.targeted_ids(session, watched.head.id))
        watched.loaded = watched.changed = True
        self._ask_joiners(session, watched, None)

    def _read(self, session: Session, watched: Watched, ids: Iterable[str]) -> None:
        head = watched.head
        for some in lots(ids):
            newer = {device_id for device_id in some if self._is_newer(watched, device_id)}
            for view in devices.look(
                session, head.id, head.model, some, newer=newer, reverting=head.reverting
            ):
                watched.put(view)

    def _ask_joiners(self, session: Session, watched: Watched, among: set[str] | None) -> None:
        if watched.spec is None or watched.head.state not in _JOINED:
            return
        if among is not None:
            among = among - watched.views.keys() - watched.joiners
        if among is None or among:
            watched.joiners.update(
                joining.candidates(session, watched.head.model, watched.spec, watched.views, among)
            )


_UNREAD = DeviceView(device_id="", wave=0, attempt=0, state=ExecutionState.QUEUED)


def _new(rollout: Rollout, head: Head) -> Watched:
    spec = spec_of(rollout)
    joined = spec if spec.continuous else None
    return Watched(head, len(spec.waves), joined, policy_of(spec), brought_by(rollout))


def settled(head: Head, views: Iterable[DeviceView]) -> bool:
    """Whether nothing can follow any more: the rollout has ended, and others that outrank it
    have the devices on which it succeeded."""
    if head.state == RolloutState.STOPPED.value:
        return True
    return head.state == RolloutState.FINISHED.value and not any(_stands(view) for view in views)


def _stands(view: DeviceView) -> bool:
    return view.open or (view.state is ExecutionState.SUCCEEDED and not view.newer)
