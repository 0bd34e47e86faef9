"""What the device adds to an execution's table: which step belongs to which state.

The table of transitions is `protocol.states.EXECUTION_TABLE`; this file says, as data, what
the device does in each state, what it means when that succeeds or fails, how long it may
take, and where an interrupted attempt goes on. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pydantic import BaseModel, Field

from edge_agent.backoff import backoff_s
from edge_agent.config import Limits
from edge_agent.dice import Dice
from edge_agent.store import StateFile
from edge_agent.update.turned import Turned
from protocol.machine import advance
from protocol.messages import ExecutionReport, SlotDesired, as_text
from protocol.states import (
    BEFORE_EXCHANGE,
    EXECUTION_TABLE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)

S, E = ExecutionState, ExecutionEvent
BY_HAND = "a person at the device gave it up"


class Step(str, Enum):
    """What the device does in a state; a step that was begun twice does no harm."""

    LOOK = "look"
    FETCH = "fetch"
    PLACE = "place"
    DERIVE = "derive"
    BUILD = "build"
    PROVE = "prove"
    SHADOW = "shadow"
    AWAIT_WINDOW = "await_window"
    AWAIT_WORD = "await_word"
    EXCHANGE = "exchange"
    WATCH = "watch"
    COMMIT = "commit"
    RESTORE = "restore"


STEPS: Mapping[ExecutionState, Step] = {
    S.QUEUED: Step.LOOK,
    S.DOWNLOADING: Step.FETCH,
    S.DOWNLOADED: Step.PLACE,
    S.VERIFIED: Step.DERIVE,
    S.BUILDING: Step.BUILD,
    S.PROVING: Step.PROVE,
    S.SHADOWING: Step.SHADOW,
    S.WAITING_WINDOW: Step.AWAIT_WINDOW,
    S.PREPARED: Step.AWAIT_WORD,
    S.SWAPPING: Step.EXCHANGE,
    S.PROBATION: Step.WATCH,
    S.COMMITTING: Step.COMMIT,
    S.ROLLING_BACK: Step.RESTORE,
}

SUCCESS: Mapping[ExecutionState, ExecutionEvent] = {
    S.QUEUED: E.DOWNLOAD_STARTED,
    S.DOWNLOADING: E.DOWNLOAD_FINISHED,
    S.DOWNLOADED: E.VERIFY_PASSED,
    S.VERIFIED: E.PROOF_STARTED,
    S.BUILDING: E.PROOF_STARTED,
    S.PROVING: E.PREPARE_FINISHED,
    S.SHADOWING: E.PREPARE_FINISHED,
    S.WAITING_WINDOW: E.PREPARE_FINISHED,
    S.PREPARED: E.SWAP_STARTED,
    S.SWAPPING: E.EXCHANGED,
    S.PROBATION: E.PROBATION_PASSED,
    S.COMMITTING: E.COMMITTED,
    S.ROLLING_BACK: E.ROLLBACK_FINISHED,
}

FAILURE: Mapping[ExecutionState, ExecutionEvent] = {
    **dict.fromkeys(BEFORE_EXCHANGE, E.ERROR),
    S.SWAPPING: E.ROLLBACK_STARTED,
    S.PROBATION: E.ROLLBACK_STARTED,
    S.COMMITTING: E.ROLLBACK_STARTED,
    S.ROLLING_BACK: E.ROLLBACK_FINISHED,
}
"""What an error means: before the exchange the attempt ends, after it the slot goes back."""

RETRIED: frozenset[ExecutionState] = frozenset({*BEFORE_EXCHANGE, S.COMMITTING, S.ROLLING_BACK})
"""Where what may pass by itself (a full disk, a lost network) is tried again in the state."""

FETCHING: frozenset[ExecutionState] = frozenset({S.QUEUED, S.DOWNLOADING, S.DOWNLOADED})
"""Where an attempt fetches, or may have to fetch again."""

HOLDING: frozenset[ExecutionState] = frozenset(
    {S.PROVING, S.SHADOWING, S.PREPARED, S.SWAPPING, S.PROBATION, S.COMMITTING, S.ROLLING_BACK}
)
"""Where a candidate may lie in the agent's memory, whatever is waited for."""

WAITING: frozenset[ExecutionState] = frozenset({S.WAITING_WINDOW, S.PREPARED})
"""Where an attempt may stand for days: starts count in a row only."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended, or what is to be said of one that goes on.

    Attributes:
        event: what it means; None stands for success.
        retry: it failed by what may pass by itself: the step begins again after a while.
        note: it goes on; `reason` says what it waits for, and `figures` are kept.
    """

    event: ExecutionEvent | None = None
    reason: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    retry: bool = False
    note: bool = False


class Passage(BaseModel):
    """One transition of an attempt; `figures` are those that came with it.

    `number` counts the slot's transitions over all attempts, so that each is told once.
    """

    number: int
    state: ExecutionState
    at: float
    reason: str = ""
    figures: dict[str, float] = Field(default_factory=dict)


class UpdateRecord(StateFile):
    """An attempt as it is persisted: enough to go on after any kill.

    Attributes:
        waiting: what the state waits for, or what went wrong in it and is tried again.
        previous_digest: the last-known-good bundle, None on a first install.
        stores: how often this attempt was moved or begun again; a loop of restarts ends by it.
        starts: how often the agent was started in this state; where it may wait for days
            (`WAITING`), in a row and without having lived on.
        transition: the number of the last passage; it never goes back within a slot.
        spent_s: how long the agent has run in this attempt, without the clock on the wall.
        entered_spent_s: `spent_s` when the state was entered.
        passages: the whole way of the attempt; the table has no cycle, so they are few.
        left: a person gave it up by hand.
    """

    version: int = 2
    slot: str
    desired: SlotDesired
    state: ExecutionState = S.QUEUED
    reason: str = ""
    waiting: str = ""
    figures: dict[str, float] = Field(default_factory=dict)
    previous_digest: str | None = None
    entered_at: float = 0.0
    stores: int = 0
    starts: int = 0
    transition: int = 0
    spent_s: float = 0.0
    entered_spent_s: float = 0.0
    passages: tuple[Passage, ...] = ()
    left: bool = False

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_EXECUTION_STATES

    @property
    def holds_candidate(self) -> bool:
        """Whether the candidate may lie in the agent's memory, and be what ends it. Before its
        window it is there once nothing more is waited for."""
        opened = self.state is S.WAITING_WINDOW and not self.waiting
        return opened or self.state in HOLDING

    @property
    def is_first(self) -> bool:
        """Whether nothing has served before it that one could go back to."""
        return self.previous_digest is None

    def report(self) -> ExecutionReport:
        """Where the attempt stands now."""
        return self._report(self.state, self.waiting or self.reason, self.figures)

    def untold(self, told: int) -> list[tuple[int, ExecutionReport]]:
        """The passages after the number `told`, each as it was, in order."""
        found: list[tuple[int, ExecutionReport]] = []
        figures: dict[str, float] = {}
        for passage in self.passages:
            figures = {**figures, **passage.figures}
            if passage.number > told:
                found.append((passage.number, self._report(passage.state, passage.reason, figures)))
        return found

    def _report(
        self, state: ExecutionState, reason: str, figures: Mapping[str, float]
    ) -> ExecutionReport:
        return ExecutionReport(
            rollout_id=self.desired.rollout_id,
            attempt=self.desired.attempt,
            slot=self.slot,
            bundle_digest=self.desired.bundle_digest,
            state=state,
            reason=reason,
            figures=dict(figures),
            by_hand=self.left and state in TERMINAL_EXECUTION_STATES,
        )


class Committed(StateFile):
    """What a slot serves after every restart, and what it served before.

    Attributes:
        by_hand: a person went back to it; the attempt that was left is not taken up again.
        why: what made it take over by itself, in words; "" where an attempt or a person did.
        revoked: the one before was left because it was revoked, which may be taken back.
        untold: what the history or the hub did not hear yet of how it came to be committed.
    """

    version: int = 1
    digest: str
    previous_digest: str | None = None
    by_hand: bool = False
    why: str = ""
    revoked: bool = False
    untold: tuple[Turned, ...] = ()


def record_name(slot: str) -> str:
    """The state file of a slot's attempt."""
    return f"update-{slot}"


def committed_name(slot: str) -> str:
    """The state file of what a slot serves."""
    return f"slot-{slot}"


def last_good(
    committed: Committed | None, wanted: SlotDesired, running: str | None = None
) -> str | None:
    """What an attempt goes back to: what serves now, which need not be what was committed (a
    start passes over what is damaged, revoked, or ended the agent).

    Where nothing serves, what was committed. An attempt that brings back just that, because it
    got lost, goes back to the one before, or to itself: it has served before.
    """
    if running not in (None, wanted.bundle_digest):
        return running
    if committed is None:
        return None
    same = committed.digest == wanted.bundle_digest
    return (committed.previous_digest if same else None) or committed.digest


def same_attempt(left: SlotDesired, right: SlotDesired) -> bool:
    """Whether both ask for the same attempt; times and words around it may differ."""
    return attempt_key(left) == attempt_key(right)


def attempt_key(desired: SlotDesired) -> str:
    """What names an attempt on this device."""
    return f"{desired.rollout_id or ''}/{desired.attempt}/{desired.bundle_digest}"


# ---- how an attempt moves --------------------------------------------------------------


def opened(
    slot: str,
    desired: SlotDesired,
    previous_digest: str | None,
    after: int,
    wall: float,
    *,
    why: str = "",
) -> UpdateRecord:
    """A new attempt; its first passage comes after the number `after`. `why` it is made again."""
    record = UpdateRecord(
        slot=slot, desired=desired, previous_digest=previous_digest, transition=after
    )
    return _entered(record, S.QUEUED, Outcome(reason=why), wall)


def moved(
    record: UpdateRecord, event: ExecutionEvent, outcome: Outcome, wall: float, spent_s: float
) -> UpdateRecord:
    """The record after `event`. Raises IllegalEvent where the table has no such transition."""
    state = advance(EXECUTION_TABLE, record.state, event)
    return _entered(record.model_copy(update={"spent_s": spent_s}), state, outcome, wall)


def _entered(
    record: UpdateRecord, state: ExecutionState, outcome: Outcome, wall: float
) -> UpdateRecord:
    number, reason = record.transition + 1, as_text(outcome.reason or record.reason)
    passage = Passage(
        number=number, state=state, at=wall, reason=reason, figures=dict(outcome.figures)
    )
    return record.model_copy(
        update={
            "state": state,
            "reason": reason,
            "waiting": "",
            "figures": {**record.figures, **outcome.figures},
            "entered_at": wall,
            "entered_spent_s": record.spent_s,
            "stores": record.stores + 1,
            "starts": 0,
            "transition": number,
            "passages": (*record.passages, passage),
        }
    )


def event_of(record: UpdateRecord, outcome: Outcome, has_incumbent: bool) -> ExecutionEvent:
    """What an outcome means in the record's state."""
    if outcome.event is not None:
        return outcome.event
    if outcome.retry:
        return FAILURE[record.state]
    if record.state is S.PROVING:
        return after_proof(record.desired, has_incumbent)
    if record.state is S.SHADOWING:
        return after_shadow(record.desired)
    return SUCCESS[record.state]


def after_proof(desired: SlotDesired, has_incumbent: bool) -> ExecutionEvent:
    """Where a proven candidate goes: beside the incumbent, to its window, or on at once."""
    if desired.shadow is not None and has_incumbent:
        return E.SHADOW_STARTED
    return after_shadow(desired)


def after_shadow(desired: SlotDesired) -> ExecutionEvent:
    """Where a candidate goes that nothing is to be compared with any more."""
    return E.PREPARE_FINISHED if desired.window is None else E.WINDOW_AWAITED


def refusal_event(state: ExecutionState, fits: bool) -> ExecutionEvent:
    """What it means in `state` that a bundle is not to be trusted, or does not fit."""
    for event in (E.REFUSED,) if fits else (E.NOTHING_FITS, E.REFUSED):
        if (state, event) in EXECUTION_TABLE:
            return event
    return FAILURE[state]


def retry_delay_s(tries: int, limits: Limits, rng: Dice) -> float:
    """How long after `tries` failures in a row (from 1) the step begins again."""
    return backoff_s(tries, limits.retry_first_s, limits.retry_cap_s, rng)


# ---- restarts --------------------------------------------------------------------------


def boot_digest(record: UpdateRecord | None, committed: Committed | None) -> str | None:
    """Which bundle a slot serves right after a start.

    The committed one. A candidate only where its probation was over, or where there is
    nothing else: it is proven, and an agent that sees nothing helps nobody.
    """
    if record is not None and record.state is S.COMMITTING:
        return record.desired.bundle_digest
    if committed is not None:
        return committed.digest
    if record is not None and record.state is S.PROBATION:
        return record.desired.bundle_digest
    return None


def resume_event(record: UpdateRecord, limits: Limits) -> Outcome | None:
    """What befalls an attempt that a restart interrupted; None: its step begins again.

    `record.starts` counts this start. After the exchange the way is back, where there is
    something to go back to: the candidate may be what ended the process. A first install has
    nothing else to serve and goes on, but not for ever. Nor does what has the candidate in the
    agent itself.
    """
    if record.stores >= limits.update_stores_max:
        return Outcome(FAILURE[record.state], "the agent was restarted too often in this attempt")
    if record.state in (S.SWAPPING, S.PROBATION) and not record.is_first:
        why = BY_HAND if record.left else "the agent was restarted before probation was over"
        return Outcome(E.ROLLBACK_STARTED, why)
    ended_here = record.holds_candidate and record.state is not S.ROLLING_BACK
    if ended_here and record.starts > limits.probation_starts_max:
        return Outcome(
            FAILURE[record.state],
            f"the agent ended {record.starts} times in {record.state.value}; "
            f"limits.probation_starts_max is {limits.probation_starts_max}",
        )
    return None
