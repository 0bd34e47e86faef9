"""Drives one slot from what it runs to what is desired.

Each transition is persisted, then told, then acted upon. What cannot be persisted has not
happened: it is tried again at every tick, and only the way back to the incumbent does not
wait for the disk. What cannot be told stays in the record until it is. Decisions come from
the pure functions in `states`; the steps themselves are behind the `Steps` port. Everything
here runs on the agent's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import structlog

from edge_agent import faults
from edge_agent.config import Limits
from edge_agent.store import Store
from edge_agent.update.again import BLIND_S, is_lifted, is_lost, leaves_blind
from edge_agent.update.states import (
    BY_HAND,
    RETRIED,
    STEPS,
    WAITING,
    Committed,
    Outcome,
    UpdateRecord,
    committed_name,
    event_of,
    last_good,
    moved,
    opened,
    record_name,
    resume_event,
    retry_delay_s,
    same_attempt,
)
from edge_agent.update.timers import expired
from edge_agent.update.updater_ports import Steps, UpdaterPorts
from protocol.messages import SlotDesired, as_text
from protocol.states import BEFORE_EXCHANGE, ExecutionEvent, ExecutionState

SPENT_EVERY_S = 300.0
"""How often the time that was spent is written down while nothing else is."""

log = structlog.get_logger(__name__)


class Leave(Enum):
    """What a wish to go back meets."""

    CLEAR = "clear"
    ALONE = "alone"
    GIVEN_UP = "given_up"
    GOES_BACK = "goes_back"
    WAIT = "wait"


class Updater:
    """One slot's attempts, one after the other."""

    def __init__(
        self, slot: str, store: Store, steps: Steps, limits: Limits, ports: UpdaterPorts
    ) -> None:
        self.slot, self._store, self._steps = slot, store, steps
        self._limits, self._ports = limits, ports
        self.record: UpdateRecord | None = store.load(record_name(slot), UpdateRecord)
        self._wanted: SlotDesired | None = None
        self._token = 0
        self._told = ports.told()
        self._counted_at = 0.0
        self._tries, self._again_at = 0, float("inf")
        self._unsaved: Outcome | None = None
        self._refused = False
        self._remembered = True
        self._blind_at: float | None = None

    @property
    def again_at(self) -> float | None:
        """When the step that failed is tried again (monotonic s); None where none is."""
        return None if self._again_at == float("inf") else self._again_at

    def wake(self, now: float, wall: float) -> None:
        """After a start, before anything is loaded: count it, and turn back where that is due.

        What the last process did not get told is told now.
        """
        self._counted_at = now
        self._tell_untold()
        record = self.record
        if record is None:
            return
        if record.terminal:
            self._remembered = self._ports.ended(record)  # a kill may have come before this
            return
        self._wanted = record.desired
        log.info("update_resumed", slot=self.slot, state=record.state.value)
        update: dict[str, object] = {"stores": record.stores + 1, "starts": record.starts + 1}
        if record.state in BEFORE_EXCHANGE:  # somebody may have gone back meanwhile
            update["previous_digest"] = last_good(self._committed(), record.desired)
        self._keep(record.model_copy(update=update), now)
        outcome = resume_event(self.record or record, self._limits)
        if outcome is not None:
            self._move(outcome, now, wall)

    def resume(self, now: float, wall: float) -> None:
        """Go on with the attempt that a restart interrupted, if there is one."""
        if self._unsaved is None and self._open() is not None:
            self._follow(self._begin(now), now, wall)

    def desire(self, desired: SlotDesired | None, now: float, wall: float) -> None:
        """The hub desires this of the slot; None: nothing any more (what runs stays)."""
        self._wanted = desired
        if desired is not None and self._lost(desired):
            why = self._ports.passed_over(desired.bundle_digest)
            self._start(desired, now, wall, f"made again: {why}" if why else "made again")
        elif desired is not None and self.record is not None and is_lifted(self.record, desired):
            self._start(desired, now, wall, "made again: it is revoked no more")
        else:
            self._refresh(now)
            self._settle(now, wall)
            self._reconsider(now, wall)

    def end(self, outcome: Outcome, now: float, wall: float) -> None:
        """The step that runs has ended (the steps tell it from one that was dropped)."""
        if self._unsaved is None and self._open() is not None:
            self._follow(outcome, now, wall)

    def tick(self, now: float, wall: float) -> None:
        """Let the running step go on, and end it when its time is up."""
        self._tell_untold()
        self._is_remembered()
        if self._unsaved is not None:
            self._follow(self._unsaved, now, wall)
            return
        if self._open() is None:
            if self._wanted is not None and self._blind_for_long(now):
                self._start(self._wanted, now, wall, "made again: nothing serves here")
            else:
                self._settle(now, wall)  # what could not be begun is tried again
            return
        self._refresh(now)
        self._count(now)
        record = self._open()
        if record is None:
            return
        outcome = expired(record, self._limits, self._spent_s(now))
        if outcome is None:
            if self.again_at is None:
                outcome = self._steps.tick(record, now, wall)
            elif now >= self._again_at:
                outcome = self._begin(now)
        self._follow(outcome, now, wall)

    def leave_by_hand(self, now: float, wall: float) -> Leave:
        """A person wants to go back by one step, and an attempt that is under way is that step.

        One that has exchanged nothing yet is given up, and what serves stays. One in probation
        goes back by itself, and one that is about to end is waited for. The first that comes to
        serve here is left neither way, for the line would be blind: ALONE. CLEAR: there is none.
        """
        record = self._open()
        if record is None:
            return Leave.CLEAR
        before = record.state in BEFORE_EXCHANGE
        if not before and record.state is not ExecutionState.PROBATION:
            return Leave.WAIT
        if record.is_first:
            return Leave.ALONE
        self.record = record.model_copy(update={"left": True})  # kept with the next passage
        event = ExecutionEvent.CANCEL_REQUESTED if before else ExecutionEvent.ROLLBACK_STARTED
        self._follow(Outcome(event, BY_HAND), now, wall)
        if not before:
            return Leave.GOES_BACK
        return Leave.GIVEN_UP if self._open() is None else Leave.WAIT

    def rest(self, now: float) -> None:
        """The agent stops: write down how long the attempt has taken."""
        record = self._open()
        if record is not None:
            self._keep(record, now)

    def forgive(self, now: float) -> None:
        """The agent has lived on, or ends because it was asked to: a candidate that waits has ended
        nothing."""
        record = self._open()
        if record is not None and record.state in WAITING and record.starts:
            self._keep(record.model_copy(update={"starts": 0}), now)

    # ---- which attempt ---------------------------------------------------------------

    def _open(self) -> UpdateRecord | None:
        record = self.record
        return None if record is None or record.terminal else record

    def _settle(self, now: float, wall: float) -> None:
        """Compare what is wanted with the attempt, and begin, supersede or cancel."""
        record, wanted = self.record, self._wanted
        if record is not None and wanted is not None and same_attempt(record.desired, wanted):
            return
        if record is not None and not record.terminal:
            if record.state in BEFORE_EXCHANGE:
                event = (
                    ExecutionEvent.CANCEL_REQUESTED
                    if wanted is None
                    else ExecutionEvent.NEWER_DESIRED
                )
                self._follow(Outcome(event), now, wall)
            return
        if wanted is not None:
            self._start(wanted, now, wall)

    def _reconsider(self, now: float, wall: float) -> None:
        """The attempt is wanted again before its end could be persisted: it goes on."""
        record, wanted, unsaved = self._open(), self._wanted, self._unsaved
        if record is None or wanted is None or unsaved is None:
            return
        withdrawn = unsaved.event in (ExecutionEvent.NEWER_DESIRED, ExecutionEvent.CANCEL_REQUESTED)
        if withdrawn and not record.left and same_attempt(record.desired, wanted):
            self._unsaved = None
            self._follow(self._begin(now), now, wall)

    def _lost(self, wanted: SlotDesired) -> bool:
        """Whether this attempt's bundle was lost; not while it rests."""
        record, running = self.record, self._steps.running_digest()
        if record is None or not is_lost(record, wanted, running, self._committed()):
            return False
        return not self._ports.rests()

    def _blind_for_long(self, now: float) -> bool:
        """Whether the slot has been blind for a while since its attempt came to nothing."""
        record, wanted, running = self.record, self._wanted, self._steps.running_digest()
        blind = record is not None and wanted is not None and leaves_blind(record, wanted, running)
        if not blind or self._ports.rests():
            self._blind_at = None
            return False
        self._blind_at = now if self._blind_at is None else self._blind_at
        return now - self._blind_at >= BLIND_S

    def _refresh(self, now: float) -> None:
        """The same attempt may come again with other words around it: no hold any more."""
        record, wanted = self._open(), self._wanted
        if record is None or wanted is None or wanted == record.desired:
            return
        if same_attempt(record.desired, wanted):
            self._keep(record.model_copy(update={"desired": wanted}), now)

    def _start(self, wanted: SlotDesired, now: float, wall: float, why: str = "") -> None:
        if not self._tell_untold() or not self._is_remembered():
            return  # the record of the last attempt holds what was not told of it, or not kept
        last = 0 if self.record is None else self.record.transition
        previous = last_good(self._committed(), wanted, self._steps.running_digest())
        self._blind_at = None
        record = opened(self.slot, wanted, previous, max(last, self._told), wall, why=why)
        if self._enter(record, now):
            self._follow(self._begin(now), now, wall)

    # ---- how it moves ----------------------------------------------------------------

    def _follow(self, outcome: Outcome | None, now: float, wall: float) -> None:
        """Move by outcomes until a step takes its time or the attempt has ended."""
        while outcome is not None and self.record is not None:
            if outcome.note:
                self._note(outcome.reason, outcome.figures, now)
                return
            if outcome.retry and self.record.state in RETRIED:
                self._put_off(outcome, now)
                return
            if not self._move(outcome, now, wall):
                return
            if self._open() is None:
                self._settle(now, wall)
                return
            outcome = self._begin(now)

    def _begin(self, now: float) -> Outcome | None:
        record = self._open()
        if record is None:
            return None
        self._token += 1
        self._again_at = float("inf")
        try:
            faults.point(f"update.{record.state.value}.told")
        except OSError as error:
            return Outcome(retry=True, reason=str(error))
        return self._steps.begin(STEPS[record.state], record, self._token, now)

    def _put_off(self, outcome: Outcome, now: float) -> None:
        """Try the step again after a while; what is said of it meanwhile is why."""
        self._tries += 1
        self._again_at = now + retry_delay_s(self._tries, self._limits, self._ports.rng)
        self._note(f"{outcome.reason}; it is tried again", outcome.figures, now)

    def _note(self, text: str, figures: Mapping[str, float], now: float) -> None:
        record = self._open()
        if record is None:
            return
        told = {**record.figures, **figures}
        noted = record.model_copy(update={"waiting": as_text(text), "figures": told})
        if noted != record:
            log.info("update_waits", slot=self.slot, state=record.state.value, reason=text)
            self._keep(noted, now)
            self._ports.changed()

    def _move(self, outcome: Outcome, now: float, wall: float) -> bool:
        """Persist and tell what follows; False where the disk refused it."""
        record = self.record
        if record is None:
            return False
        running = self._steps.running_digest()
        event = event_of(record, outcome, running is not None)
        following = moved(record, event, outcome, wall, self._spent_s(now))
        if event is ExecutionEvent.SWAP_STARTED:  # a start may have passed over what was good
            good = last_good(self._committed(), record.desired, running)
            following = following.model_copy(update={"previous_digest": good})
        if event is ExecutionEvent.ROLLBACK_STARTED:
            # A restart would go back too, so this may come before it is on the disk.
            self._steps.retreat()
        if not self._enter(following, now):
            self._unsaved = outcome
            return False
        if following.terminal and record.state in BEFORE_EXCHANGE:
            self._steps.cancel(overdue=event is ExecutionEvent.TIMER_EXPIRED)
        if following.terminal:
            self._remembered = self._ports.ended(following)
        return True

    def _enter(self, following: UpdateRecord, now: float) -> bool:
        """Persist a passage, then tell it."""
        name = following.state.value
        try:
            faults.point(f"update.{name}.before")
            self._store.save(record_name(self.slot), following)
        except OSError as error:
            if not self._refused:
                log.warning("update_not_persisted", slot=self.slot, state=name, error=str(error))
            self._refused = True
            return False
        self._refused = False
        self.record, self._unsaved, self._counted_at = following, None, now
        self._tries, self._again_at = 0, float("inf")
        log.info(
            "update_state",
            slot=self.slot,
            bundle=following.desired.bundle_digest[:12],
            state=name,
            reason=following.reason,
        )
        self._tell_untold()
        self._ports.changed()
        return True

    # ---- disk and time ---------------------------------------------------------------

    def _tell_untold(self) -> bool:
        """Tell what the record holds and was not told; whether nothing is left."""
        for number, report in () if self.record is None else self.record.untold(self._told):
            try:
                faults.point(f"update.{report.state.value}.persisted")
            except OSError:
                return False
            if not self._ports.tell(number, report):
                return False
            self._told = number
        return True

    def _is_remembered(self) -> bool:
        """Whether the last attempt that is over is in the history; what a disk refused is tried
        again, for the next attempt takes its record's place."""
        if not self._remembered and self.record is not None and self.record.terminal:
            self._remembered = self._ports.ended(self.record)
        return self._remembered

    def _keep(self, record: UpdateRecord, now: float) -> None:
        """Take on what is no transition; a disk that refuses it gets it with the next one."""
        self.record = record.model_copy(update={"spent_s": self._spent_s(now)})
        self._counted_at = now
        try:
            self._store.save(record_name(self.slot), self.record)
        except OSError as error:
            log.warning("update_not_persisted", slot=self.slot, error=str(error))

    def _committed(self) -> Committed | None:
        return self._store.load(committed_name(self.slot), Committed)

    def _count(self, now: float) -> None:
        record = self._open()
        if record is not None and now - self._counted_at >= SPENT_EVERY_S:
            self._keep(record, now)

    def _spent_s(self, now: float) -> float:
        record = self.record
        return 0.0 if record is None else record.spent_s + now - self._counted_at
