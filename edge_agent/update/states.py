"""What the device adds to an execution's table: which step belongs to which state.

The table of transitions is `protocol.states.EXECUTION_TABLE`; this file says, as data, what
the device does in each state, what it means when that succeeds or fails, how long it may
take, and where an interrupted attempt goes on. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pydantic import Field

from edge_agent.config import Limits
from edge_agent.store import StateFile
from protocol.messages import ExecutionReport, SlotDesired
from protocol.states import (
    BEFORE_EXCHANGE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)

S, E = ExecutionState, ExecutionEvent


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


@dataclass(frozen=True)
class Outcome:
    """How a step ended; `event` None stands for success."""

    event: ExecutionEvent | None = None
    reason: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


class UpdateRecord(StateFile):
    """An attempt as it is persisted: enough to go on after any kill.

    Attributes:
        previous_digest: the last-known-good bundle, None on a first install.
        stores: how often this attempt was persisted; a loop of restarts ends by it.
    """

    version: int = 1
    slot: str
    desired: SlotDesired
    state: ExecutionState = S.QUEUED
    reason: str = ""
    figures: dict[str, float] = Field(default_factory=dict)
    previous_digest: str | None = None
    entered_at: float = 0.0
    stores: int = 0

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_EXECUTION_STATES

    def report(self) -> ExecutionReport:
        return ExecutionReport(
            rollout_id=self.desired.rollout_id,
            attempt=self.desired.attempt,
            slot=self.slot,
            bundle_digest=self.desired.bundle_digest,
            state=self.state,
            reason=self.reason[:2048],
            figures=self.figures,
        )


class Committed(StateFile):
    """What a slot serves after every restart, and what it served before."""

    version: int = 1
    digest: str
    previous_digest: str | None = None


def record_name(slot: str) -> str:
    """The state file of a slot's attempt."""
    return f"update-{slot}"


def committed_name(slot: str) -> str:
    """The state file of what a slot serves."""
    return f"slot-{slot}"


def same_attempt(left: SlotDesired, right: SlotDesired) -> bool:
    """Whether both ask for the same attempt; times and words around it may differ."""
    return (left.bundle_digest, left.rollout_id, left.attempt) == (
        right.bundle_digest,
        right.rollout_id,
        right.attempt,
    )


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


def resume_event(record: UpdateRecord, stores_max: int) -> Outcome | None:
    """What befalls an attempt that a restart interrupted; None: its step begins again."""
    if record.stores >= stores_max:
        return Outcome(FAILURE[record.state], "the agent was restarted too often in this attempt")
    alone = record.previous_digest is None
    if record.state is S.SWAPPING or (record.state is S.PROBATION and not alone):
        return Outcome(E.ROLLBACK_STARTED, "the agent was restarted before probation was over")
    return None


def timer_s(state: ExecutionState, limits: Limits) -> float | None:
    """How long a state may last; None where it ends by itself."""
    return {
        S.QUEUED: limits.download_timeout_s,
        S.DOWNLOADING: limits.download_timeout_s,
        S.DOWNLOADED: limits.prepare_timeout_s,
        S.PROVING: limits.proof_timeout_s + limits.prepare_timeout_s,
    }.get(state)


@dataclass(frozen=True)
class SlotHealth:
    """Frames of a slot's cameras since the agent started."""

    captured: int = 0
    inferred: int = 0
    errors: int = 0

    def since(self, start: SlotHealth) -> SlotHealth:
        return SlotHealth(
            self.captured - start.captured,
            self.inferred - start.inferred,
            self.errors - start.errors,
        )


def judge_probation(
    seen: SlotHealth, elapsed_s: float, probation_s: float, limits: Limits
) -> Outcome | None:
    """Whether probation is over, by what was seen since the exchange; None: not yet.

    Errors over their share end it at once. Frames without one result end it
    `probation_answer_s` after its time is up: on a busy machine the first answer may take
    longer than a short probation. Without any frame it waits `probation_idle_s` longer and
    then passes: the golden frames have passed, and a dark camera says nothing of the model.
    """
    answered = seen.inferred + seen.errors
    if seen.errors and seen.errors > limits.probation_error_share_max * answered:
        return Outcome(E.ROLLBACK_STARTED, f"{seen.errors} of {answered} inferences failed")
    wait_s, verdict = _verdict(seen, limits)
    return verdict if elapsed_s >= probation_s + wait_s else None


def _verdict(seen: SlotHealth, limits: Limits) -> tuple[float, Outcome]:
    """What probation comes to if nothing more is seen, and how much longer to wait (s)."""
    figures = {"probation_frames": float(seen.inferred), "probation_errors": float(seen.errors)}
    if seen.inferred:
        return 0.0, Outcome(figures=figures)
    if seen.captured > 1:
        text = f"{seen.captured} frames came and none was answered"
        return limits.probation_answer_s, Outcome(E.ROLLBACK_STARTED, text)
    text = "no camera of the slot gave a frame"
    return limits.probation_idle_s, Outcome(reason=text, figures=figures)
