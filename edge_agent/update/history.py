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
from edge_agent.update.states import Passage, UpdateRecord, attempt_key

REASON_CHARS_MAX = 300
HISTORY_BYTES_MAX = 512 * 1024

log = structlog.get_logger(__name__)


class PastAttempt(BaseModel):
    """An attempt that is over.

    Attributes:
        key: `states.attempt_key`.
        previous_digest: what served before it; None on a first install.
        spent_s: for how long the agent ran in it.
        left: a person left it by hand, before its end or after.
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
    left: bool = False


class History(StateFile):
    """A slot's attempts, the oldest first."""

    version: int = 1
    attempts: tuple[PastAttempt, ...] = ()


def history_name(slot: str) -> str:
    """The state file of a slot's history."""
    return f"history-{slot}"


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
        left=record.left,
    )


def added(history: History, attempt: PastAttempt, attempts_max: int) -> History:
    """The history with an attempt at its end, without the oldest that have no room.

    The same passage is kept once, as left where it was: a kill may have come between keeping it
    and going on.
    """
    if any(_same(known, attempt) and known.left for known in history.attempts):
        attempt = attempt.model_copy(update={"left": True})
    others = (known for known in history.attempts if not _same(known, attempt))
    attempts = [*others, attempt][-attempts_max:]
    sizes = [len(kept.model_dump_json()) + 1 for kept in attempts]
    while len(attempts) > 1 and sum(sizes) > HISTORY_BYTES_MAX:
        del attempts[0], sizes[0]
    return History(attempts=tuple(attempts))


def remember(store: Store, slot: str, record: UpdateRecord, limits: Limits) -> bool:
    """Keep an attempt that is over; False where the disk refused."""
    history = store.load(history_name(slot), History) or History()
    try:
        following = added(history, past(record), limits.history_attempts_max)
        store.save(history_name(slot), following)
    except OSError as error:
        log.debug("history_not_kept", slot=slot, error=str(error))
        return False
    return True


def leave(store: Store, slot: str, digest: str) -> None:
    """A person leaves a bundle that had been committed: its last attempt is marked. Raises
    OSError."""
    history = store.load(history_name(slot), History)
    if history is None:
        return
    of = [at for at, known in enumerate(history.attempts) if known.bundle_digest == digest]
    if not of or history.attempts[of[-1]].left:
        return
    attempts = list(history.attempts)
    attempts[of[-1]] = attempts[of[-1]].model_copy(update={"left": True})
    store.save(history_name(slot), History(attempts=tuple(attempts)))


def take_back(store: Store, slot: str, digest: str) -> None:
    """A person wants a bundle again: that it was left counts no more. Raises OSError."""
    history = store.load(history_name(slot), History)
    if history is None:
        return
    attempts = tuple(
        known.model_copy(update={"left": False}) if known.bundle_digest == digest else known
        for known in history.attempts
    )
    if attempts != history.attempts:
        store.save(history_name(slot), History(attempts=attempts))


def _same(left: PastAttempt, right: PastAttempt) -> bool:
    """Whether both are one passage through one attempt: the slot's numbers never come twice."""
    numbers = [a.passages[0].number if a.passages else 0 for a in (left, right)]
    return left.key == right.key and numbers[0] == numbers[1]
