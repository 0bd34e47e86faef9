"""Drives one slot from what it runs to what is desired.

Each transition is persisted, then told, then acted upon. Decisions come from the tables in
`states`; the steps themselves are behind the `Steps` port. Everything here runs on the
agent's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from edge_agent.config import Limits
from edge_agent.store import Store
from edge_agent.update.states import (
    FAILURE,
    STEPS,
    SUCCESS,
    Committed,
    Outcome,
    Step,
    UpdateRecord,
    committed_name,
    record_name,
    resume_event,
    same_attempt,
    timer_s,
)
from protocol.machine import advance
from protocol.messages import ExecutionReport, SlotDesired
from protocol.states import BEFORE_EXCHANGE, EXECUTION_TABLE, ExecutionEvent, ExecutionState

log = structlog.get_logger(__name__)


class Steps(Protocol):
    """Carries out steps for one slot."""

    def begin(self, step: Step, record: UpdateRecord, token: int, now: float) -> Outcome | None:
        """Begin a step. Its outcome, or None where `tick` or a message brings it later."""

    def tick(self, now: float) -> Outcome | None:
        """Go on with the step that was begun; its outcome when it has one."""

    def cancel(self) -> None:
        """Drop the step that was begun, with what it loaded; nothing of it comes any more."""

    def running_digest(self) -> str | None:
        """The bundle that the slot serves now."""


class Updater:
    """One slot's attempts, one after the other."""

    def __init__(
        self,
        slot: str,
        store: Store,
        steps: Steps,
        limits: Limits,
        tell: Callable[[ExecutionReport], None],
    ) -> None:
        self.slot, self._store, self._steps = slot, store, steps
        self._limits, self._tell = limits, tell
        self.record: UpdateRecord | None = store.load(record_name(slot), UpdateRecord)
        self._wanted: SlotDesired | None = None
        self._token = 0
        self._entered = 0.0

    def resume(self, now: float, wall: float) -> None:
        """Go on with the attempt that a restart interrupted, if there is one."""
        record = self.record
        if record is None or record.terminal:
            return
        self._wanted = record.desired
        log.info("update_resumed", slot=self.slot, state=record.state.value)
        outcome = resume_event(record, self._limits.update_stores_max)
        if outcome is None:
            again = record.model_copy(update={"stores": record.stores + 1})
            self._keep(again)
            outcome = self._begin(again, now)
        self._follow(outcome, now, wall)

    def desire(self, desired: SlotDesired | None, now: float, wall: float) -> None:
        """The hub desires this of the slot; None: nothing any more (what runs stays)."""
        self._wanted = desired
        if desired is not None and self._lost(desired):
            self._start(desired, now, wall)
        else:
            self._settle(now, wall)

    def end(self, outcome: Outcome, now: float, wall: float) -> None:
        """The step that runs has ended (the steps tell it from one that was dropped)."""
        if self.record is not None and not self.record.terminal:
            self._follow(outcome, now, wall)

    def tick(self, now: float, wall: float) -> None:
        """Let the running step go on, and end it when its time is up."""
        record = self.record
        if record is None or record.terminal:
            return
        outcome = self._steps.tick(now)
        limit_s = timer_s(record.state, self._limits)
        if outcome is None and limit_s is not None and now - self._entered > limit_s:
            text = f"{record.state.value} took longer than {limit_s:g} s"
            outcome = Outcome(ExecutionEvent.TIMER_EXPIRED, text)
        self._follow(outcome, now, wall)

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

    def _lost(self, wanted: SlotDesired) -> bool:
        """Whether this attempt had succeeded and its bundle was lost since (a damaged file)."""
        record = self.record
        return (
            record is not None
            and record.state is ExecutionState.SUCCEEDED
            and same_attempt(record.desired, wanted)
            and self._steps.running_digest() != wanted.bundle_digest
        )

    def _start(self, wanted: SlotDesired, now: float, wall: float) -> None:
        committed = self._store.load(committed_name(self.slot), Committed)
        record = UpdateRecord(
            slot=self.slot,
            desired=wanted,
            previous_digest=None if committed is None else committed.digest,
            entered_at=wall,
        )
        if not self._keep(record):
            return
        self._tell(record.report())
        self._follow(self._begin(record, now), now, wall)

    def _follow(self, outcome: Outcome | None, now: float, wall: float) -> None:
        """Move by outcomes until a step takes its time or the attempt has ended."""
        while outcome is not None and self.record is not None:
            following = self._move(self.record, outcome, wall)
            if following.terminal:
                self._settle(now, wall)
                return
            outcome = self._begin(following, now)

    def _begin(self, record: UpdateRecord, now: float) -> Outcome | None:
        self._token += 1
        self._entered = now
        return self._steps.begin(STEPS[record.state], record, self._token, now)

    def _move(self, record: UpdateRecord, outcome: Outcome, wall: float) -> UpdateRecord:
        event = outcome.event or SUCCESS[record.state]
        following = _after(record, event, outcome, wall)
        if not self._keep(following):
            event = FAILURE[record.state]
            full = Outcome(event, "the step could not be persisted; is the disk full?")
            self.record = following = _after(record, event, full, wall)
        if following.terminal and record.state in BEFORE_EXCHANGE:
            self._token += 1
            self._steps.cancel()
        log.info(
            "update_state",
            slot=self.slot,
            bundle=following.desired.bundle_digest[:12],
            state=following.state.value,
            reason=following.reason,
        )
        self._tell(following.report())
        return following

    def _keep(self, record: UpdateRecord) -> bool:
        try:
            self._store.save(record_name(self.slot), record)
        except OSError as error:
            log.warning("update_not_persisted", slot=self.slot, error=str(error))
            return False
        self.record = record
        return True


def _after(
    record: UpdateRecord, event: ExecutionEvent, outcome: Outcome, wall: float
) -> UpdateRecord:
    return record.model_copy(
        update={
            "state": advance(EXECUTION_TABLE, record.state, event),
            "reason": outcome.reason or record.reason,
            "figures": {**record.figures, **outcome.figures},
            "entered_at": wall,
            "stores": record.stores + 1,
        }
    )
