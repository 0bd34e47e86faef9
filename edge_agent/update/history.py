"""What became of a slot's attempts: each with the states that it passed through, and why.

Kept on the device (state/history-<slot>.json), so that who stands before it learns without
the hub what was tried, when, and how it ended. Bounded in attempts and in bytes: a state file
that is too large could not be read again. `added` is pure; `remember` is its shell.
"""

from __future__ import annotations

import structlog
from pydantic import BaseModel

from edge_agent.config import Limits
from edge_agent.store import StateFile, Store
from edge_agent.update.states import Committed, Passage, UpdateRecord, attempt_key
from protocol.states import ExecutionState

REASON_CHARS_MAX = 300
HISTORY_BYTES_MAX = 512 * 1024
_DID_NOT_STAND = (ExecutionState.ROLLED_BACK, ExecutionState.REJECTED)

log = structlog.get_logger(__name__)


class PastAttempt(BaseModel):
    """An attempt that is over.

    Attributes:
        key: `states.attempt_key`.
        previous_digest: what served before it; None on a first install.
        spent_s: for how long the agent ran in it.
    """

    key: str
    rollout_id: str | None
    attempt: int
    bundle_digest: str
    model: str
    model_version: int
    previous_digest: str | None
    spent_s: float
    passages: tuple[Passage, ...]
    figures: dict[str, float]


class History(StateFile):
    """A slot's attempts, the oldest first."""

    version: int = 1
    attempts: tuple[PastAttempt, ...] = ()


def history_name(slot: str) -> str:
    """The state file of a slot's history."""
    return f"history-{slot}"


def objection(committed: Committed | None, history: History | None) -> str:
    """Why the bundle before should serve again only where a person insists; else empty."""
    if committed is None or committed.previous_digest is None:
        return ""
    digest = committed.previous_digest
    insist = "with --force it serves again all the same"
    if committed.why:
        return f"{committed.why}, and this would go back to it; {insist}"
    if committed.by_hand:
        return f"somebody left {digest[:12]} by hand, and this would go back to it; {insist}"
    attempts = () if history is None else history.attempts
    last = next((a for a in reversed(attempts) if a.bundle_digest == digest), None)
    if last is not None and last.passages and last.passages[-1].state in _DID_NOT_STAND:
        state = last.passages[-1].state.value
        return f"{digest[:12]} was {state} in its last attempt; {insist}"
    return ""


def stood(history: History | None) -> tuple[str, ...]:
    """The bundles that stood an attempt on this device and none worse since, the newest first."""
    found: dict[str, bool] = {}
    for attempt in reversed(() if history is None else history.attempts):
        end = attempt.passages[-1].state if attempt.passages else None
        if end is ExecutionState.SUCCEEDED or end in _DID_NOT_STAND:
            found.setdefault(attempt.bundle_digest, end is ExecutionState.SUCCEEDED)
    return tuple(digest for digest, well in found.items() if well)


def past(record: UpdateRecord) -> PastAttempt:
    """What is kept of an attempt; long reasons are cut."""
    desired = record.desired
    cut = tuple(
        p.model_copy(update={"reason": p.reason[:REASON_CHARS_MAX]}) for p in record.passages
    )
    return PastAttempt(
        key=attempt_key(desired),
        rollout_id=desired.rollout_id,
        attempt=desired.attempt,
        bundle_digest=desired.bundle_digest,
        model=desired.model,
        model_version=desired.version,
        previous_digest=record.previous_digest,
        spent_s=record.spent_s,
        passages=cut,
        figures=record.figures,
    )


def added(history: History, attempt: PastAttempt, attempts_max: int) -> History:
    """The history with an attempt at its end, without the oldest that have no room.

    The same passage is kept once: a kill may have come between keeping it and going on.
    """
    others = (known for known in history.attempts if not _same(known, attempt))
    attempts = [*others, attempt][-attempts_max:]
    sizes = [len(kept.model_dump_json()) + 1 for kept in attempts]
    while len(attempts) > 1 and sum(sizes) > HISTORY_BYTES_MAX:
        del attempts[0], sizes[0]
    return History(attempts=tuple(attempts))


def remember(store: Store, slot: str, record: UpdateRecord, limits: Limits) -> None:
    """Keep an attempt that is over; what the disk refuses is logged, and life goes on."""
    history = store.load(history_name(slot), History) or History()
    try:
        following = added(history, past(record), limits.history_attempts_max)
        store.save(history_name(slot), following)
    except OSError as error:
        log.warning("history_not_kept", slot=slot, error=str(error))


def _same(left: PastAttempt, right: PastAttempt) -> bool:
    """Whether both are one passage through one attempt: the slot's numbers never come twice."""
    numbers = [a.passages[0].number if a.passages else 0 for a in (left, right)]
    return left.key == right.key and numbers[0] == numbers[1]
