"""A person at a device went back, or a revoked build made way there, and the hub hears of it late.

What a device had before a rollout or a pin is recorded when its slot is changed, from what the
hub knows then. So whatever was recorded before this word came, of a change that the device had
not made yet when it left the build, names a build that was not there any more: to bring that back
would overrule the person.

Which came first, the device's own clock says, by which both the word and its exchanges are told;
in what order its words come does not matter:

- An attempt that had exchanged its build before, or had come to nothing, met what was recorded.
- What names an attempt that was exchanged since means the build that was taken up anew.
- What is recorded after the word knows of it. The word is told once, so that is not touched; and
  where it is told again, it finds nothing that still names the build left.

A report says the same, and goes on saying it: it is heeded where no word of it came, or came to
nobody, for the attempt was of no rollout or over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from cloud.fleet import inbound as fleet_inbound
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.rollouts import queries
from cloud.rollouts.journal import BY_ENGINE, note
from cloud.rollouts.models import DevicePin, Execution, Rollout
from cloud.rollouts.running.going_back import against, gave_up, left_for_good, wish_of
from cloud.rollouts.running.looking import BY_HAND_ALERT, told_since
from cloud.rollouts.running.telling import ENGINE
from cloud.rollouts.states import BY_HAND
from cloud.telemetry.service import Turn
from protocol.messages import Reported, SlotDesired, SlotReported
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

_ALL = [state.value for state in ExecutionState]
_OPEN = [state.value for state in ExecutionState if state not in TERMINAL_EXECUTION_STATES]
FAILED_AGAIN = "its build failed there since"
_SERVING = (ExecutionState.PROBATION, ExecutionState.COMMITTING, ExecutionState.SUCCEEDED)

AttemptKey = tuple[str | None, int]
"""A rollout's id, None for a wish outside of rollouts, and the number of the attempt."""


@dataclass(frozen=True)
class _Scene:
    """A turn, and what the hub knows of its slot.

    Attributes:
        pin: a person's word at the hub.
        left, serves: the attempts that had last brought what was left and what serves.
        taken_up: attempts of what was left that the device has exchanged since.
        wish: what serves as an own wish; None where the registry does not know it.
    """

    session: Session
    turn: Turn
    device: Device
    pin: DevicePin | None
    rows: Sequence[Execution]
    left: Execution | None
    serves: Execution | None
    taken_up: set[AttemptKey]
    wish: SlotDesired | None


def _look(session: Session, turn: Turn) -> _Scene:
    device = fleet.get_device(session, ENGINE, turn.device_id)
    rows = [row for row, _ in queries.on_device(session, turn.device_id, turn.slot, _ALL)]
    return _Scene(
        session,
        turn,
        device,
        session.get(DevicePin, (turn.device_id, turn.slot)),
        rows,
        left=brought(rows, turn.left, turn.at),
        serves=brought(rows, turn.serves, turn.at),
        taken_up=_taken_up_since(session, turn),
        wish=wish_of(session, device, turn.slot, turn.serves),
    )


def on_turn(session: Session, turn: Turn, now: float) -> bool:
    """Put right what was recorded as "before" and was not there any more, and mark who had
    brought what a person left; True where something changed. `now` is the hub's."""
    scene = _look(session, turn)
    left = scene.left
    changed = _correct(scene)
    _note_running(scene)
    _follow(scene)
    if turn.name != BY_HAND_ALERT:
        return changed
    changed |= _take_back(scene)
    if left is None or left.by_hand:
        return changed
    rollout = session.get_one(Rollout, left.rollout_id)
    reason = f"runs {turn.serves}, {BY_HAND}"
    mark_diverged(session, rollout, left, reason, now, by_hand=True)
    return True


def on_report(session: Session, device: Device, said: Reported, now: float) -> None:
    """Where a device says that the attempt which its slot desires is over, and that a person or
    its proof has left it with another build for good, desire that one.

    For reports of devices that run something else than they should; `now` is the hub's.
    """
    desired = fleet.desired(device)
    for name, slot in {} if desired is None else desired.slots.items():
        shown = said.slots.get(name)
        serving = left_for_good(slot, shown)
        if shown is not None and serving is not None:
            left = _Left(name, slot, serving, gave_up(shown), said.reported_at)
            _take_report(session, device, left, now)


@dataclass(frozen=True)
class _Left:
    """What a report says of a slot: what it desires was left for what serves."""

    name: str
    slot: SlotDesired
    serves: str
    by_hand: bool
    at: float


def _take_report(session: Session, device: Device, left: _Left, now: float) -> None:
    rows = [row for row, _ in queries.on_device(session, device.id, left.name, _ALL)]
    own = [row for row in rows if _key(row) == _key(left.slot)]
    pinned = session.get(DevicePin, (device.id, left.name)) is not None
    if pinned or any(row.state in _OPEN for row in own):
        return
    wish = wish_of(session, device, left.name, left.serves)
    if wish is not None and against(session, wish):
        wish = None
    _forget(session, rows, left.slot, wish)
    _desire(session, device, left.name, wish, brought(rows, left.serves, left.at))
    for row in own:
        known = row.diverged and (row.by_hand or not left.by_hand)
        if row.state == ExecutionState.SUCCEEDED.value and not known:
            rollout = session.get_one(Rollout, row.rollout_id)
            reason = f"runs {left.serves}, {BY_HAND if left.by_hand else FAILED_AGAIN}"
            mark_diverged(session, rollout, row, reason, now, by_hand=left.by_hand)


def _forget(
    session: Session, rows: Sequence[Execution], left: SlotDesired, wish: SlotDesired | None
) -> None:
    """What was left is not what was before what another rollout brings there."""
    for row in rows:
        slot = row.before and SlotDesired.model_validate_json(row.before)
        if row.state in _OPEN and slot and _key(slot) == _key(left):
            row.before = None if wish is None else wish.model_dump_json()
            session.add(row)


def brought(rows: Sequence[Execution], digest: str, at: float) -> Execution | None:
    """The attempt that had last brought a build when the device left it. Pure."""
    there = [row for row in rows if row.digest == digest and _had_served(row, at)]
    return max(there, key=_settled_at, default=None)


def is_stale(before: str | None, left: str, spared: Collection[AttemptKey]) -> bool:
    """Whether what was recorded as "before" means the build that was left. Pure.

    spared: attempts that were exchanged since.
    """
    slot = None if before is None else SlotDesired.model_validate_json(before)
    if slot is None or slot.bundle_digest != left:
        return False
    return (slot.rollout_id, slot.attempt) not in spared


def came_later(row: Execution, at: float) -> bool:
    """Whether the device had not made the attempt's exchange yet, or will not. Pure."""
    return (row.exchanged_at or row.device_ended_at) is None or _settled_at(row) > at


def mark_diverged(
    session: Session, rollout: Rollout, row: Execution, reason: str, now: float, *, by_hand: bool
) -> None:
    """Say of an attempt that succeeded that its device runs another build."""
    row.diverged, row.reason, row.by_hand, row.step_at = True, reason, by_hand, now
    session.add(row)
    note(
        session, rollout, "diverged", by=BY_ENGINE, now=now, text=reason,
        wave=row.wave, device_id=row.device_id, detail={"by_hand": by_hand},
    )  # fmt: skip


def _correct(scene: _Scene) -> bool:
    turn = scene.turn
    held: list[Execution | DevicePin] = [row for row in scene.rows if came_later(row, turn.at)]
    held += [] if scene.pin is None else [scene.pin]
    stale = [one for one in held if is_stale(one.before, turn.left, scene.taken_up)]
    for one in stale:
        one.before = None if scene.wish is None else scene.wish.model_dump_json()
        scene.session.add(one)
    return bool(stale)


def _note_running(scene: _Scene) -> None:
    """What is recorded from now on rests on the last report, which may be older than the word."""
    turn, device = scene.turn, scene.device
    if device.running.get(turn.slot) != turn.left or scene.taken_up:
        return
    now = SlotReported(
        running_digest=turn.serves,
        version=None if scene.wish is None else scene.wish.version,
        by_hand=turn.name == BY_HAND_ALERT,
    )
    fleet_inbound.note_running(scene.session, device, turn.slot, now, instead_of=turn.left)


def _follow(scene: _Scene) -> None:
    """Where the slot still desires the attempt that was left, or nothing, desire what serves
    instead: a device that loses its disk is to come back to that.

    By the attempt that had brought it, where one had: should the person have gone on to another
    meanwhile, the device knows that this very attempt was left. A pin is a person's word at the
    hub, and stands; a newer attempt of the build that was left is a new wish.
    """
    if scene.pin is not None or not _is_followed(scene):
        return
    _desire(scene.session, scene.device, scene.turn.slot, scene.wish, scene.serves)


def _desire(
    session: Session,
    device: Device,
    slot: str,
    wish: SlotDesired | None,
    again: Execution | None,
) -> None:
    """Desire what serves, by the attempt that had brought it, but for a rollout that is taken
    back: its build would be gone back from once more."""
    floor = registry.floor(session, slot)
    if again is not None and (again.reverts or not _is_taken_back(session, again)):
        own: dict[str, str | int] = {"rollout_id": again.rollout_id, "attempt": again.attempt}
    else:
        own = {}
    wanted = None if wish is None else wish.model_copy(update={**own, "floor": floor})
    slots, floors = {slot: wanted}, {slot: floor}
    fleet.change_desired(session, ENGINE, device.id, slots=slots, floors=floors)


def _is_taken_back(session: Session, row: Execution) -> bool:
    return session.get_one(Rollout, row.rollout_id).reverting


def _is_followed(scene: _Scene) -> bool:
    turn, wish, desired = scene.turn, scene.wish, fleet.desired(scene.device)
    standing = None if desired is None else desired.slots.get(turn.slot)
    if standing is None:
        # An attempt came to nothing, and what had been before may not serve any more.
        return wish is not None and not scene.taken_up and not against(scene.session, wish)
    key = (standing.rollout_id, standing.attempt)
    is_left = standing.bundle_digest == turn.left and key in _over(scene)
    return is_left and key not in scene.taken_up


def _over(scene: _Scene) -> set[AttemptKey]:
    """Attempts of the build left that had succeeded: by the executions, and by the last report,
    which knows of wishes outside of rollouts too."""
    left, reported = scene.left, fleet.reported(scene.device)
    found: set[AttemptKey] = set()
    if left is not None:
        found.add((left.rollout_id, left.attempt))
    said = None if reported is None else reported.slots.get(scene.turn.slot)
    last = None if said is None else said.execution
    if last is not None and last.state is ExecutionState.SUCCEEDED:
        found.add((last.rollout_id, last.attempt))
    return found


def _take_back(scene: _Scene) -> bool:
    """A person went back to what a person had left: its rollout has that device again."""
    again = scene.serves
    if again is None or not again.by_hand:
        return False
    again.diverged, again.by_hand, again.reason = False, False, ""
    scene.session.add(again)
    return True


def _taken_up_since(session: Session, turn: Turn) -> set[AttemptKey]:
    """Attempts of the build left that the device says it has exchanged since: also those outside
    of rollouts, of which no execution tells."""
    said = (e.execution for e in told_since(session, turn.device_id, "execution", turn.at))
    return {
        (word.rollout_id, word.attempt)
        for word in said
        if word is not None
        and (word.slot, word.bundle_digest) == (turn.slot, turn.left)
        and word.state in _SERVING
    }


def _key(one: Execution | SlotDesired) -> AttemptKey:
    return one.rollout_id, one.attempt


def _had_served(row: Execution, at: float) -> bool:
    return row.state == ExecutionState.SUCCEEDED.value and _settled_at(row) <= at


def _settled_at(row: Execution) -> float:
    """When the attempt was exchanged or came to nothing, by the device's clock."""
    return row.exchanged_at or row.device_ended_at or 0.0
