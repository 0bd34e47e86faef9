"""What became of a slot's attempts: each with the states that it passed through, and why.

Kept on the device (state/history-<slot>.json), so that who stands before it learns without
the hub what was tried, when, and how it ended. Bounded in attempts and in bytes: a state file
that is too large could not be read again. `added` and `heard` are pure; `remember` and `hear` are
their shells.

What a person leaves is marked here, and so is what somebody wants again. That came with what was
committed (`Committed.untold`) and may not be in the file yet: `heard` says how it counts already.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pydantic import BaseModel

from edge_agent.config import Limits
from edge_agent.store import StateFile, Store
from edge_agent.update.states import (
    Committed,
    Passage,
    UpdateRecord,
    attempt_key,
    committed_name,
)
from edge_agent.update.turned import Turned

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
    """A slot's attempts, the oldest first; `turned` is the number of the last turn that it knows
    of (`Turned`)."""

    version: int = 1
    attempts: tuple[PastAttempt, ...] = ()
    turned: int = 0


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
    return history.model_copy(update={"attempts": tuple(attempts)})


def heard(history: History | None, turns: Sequence[Turned]) -> History | None:
    """The history once it knows of `turns`: of what a person left the last attempt is marked, and
    that what a person wants again was left counts no more."""
    for turn in turns:
        history = history or History()
        if turn.number > history.turned:
            attempts = _marked(history.attempts, turn) if turn.by_hand else history.attempts
            history = history.model_copy(update={"attempts": attempts, "turned": turn.number})
    return history


def history_of(slot: str, store: Store) -> History | None:
    """A slot's history, with what was not written into it yet; None where there is none."""
    committed = store.load(committed_name(slot), Committed)
    turns = () if committed is None else committed.untold
    return heard(store.load(history_name(slot), History), turns)


def turn_number(slot: str, store: Store, wall: float) -> int:
    """The number of a slot's next turn. It is the time of day, so that it comes after those of a
    history that was lost, and one more than the last where the clock stands behind."""
    known = history_of(slot, store)
    return max(int(wall), 1 if known is None else known.turned + 1)


def hear(slot: str, store: Store) -> bool:
    """Write into the history what it lacks; False where the disk refused."""
    known = history_of(slot, store)
    if known is not None and known != store.load(history_name(slot), History):
        try:
            store.save(history_name(slot), known)
        except OSError as error:
            log.debug("history_not_kept", slot=slot, error=str(error))
            return False
    return True


def remember(store: Store, slot: str, record: UpdateRecord, limits: Limits) -> bool:
    """Keep an attempt that is over; False where the disk refused."""
    history = history_of(slot, store) or History()
    try:
        following = added(history, past(record), limits.history_attempts_max)
        store.save(history_name(slot), following)
    except OSError as error:
        log.debug("history_not_kept", slot=slot, error=str(error))
        return False
    return True


def _marked(attempts: tuple[PastAttempt, ...], turn: Turned) -> tuple[PastAttempt, ...]:
    last = max((at for at, a in enumerate(attempts) if a.bundle_digest == turn.left), default=None)
    marks = {at: False for at, a in enumerate(attempts) if a.bundle_digest == turn.serves}
    if last is not None:
        marks[last] = True
    return tuple(
        known.model_copy(update={"left": marks.get(at, known.left)})
        for at, known in enumerate(attempts)
    )


def _same(left: PastAttempt, right: PastAttempt) -> bool:
    """Whether both are one passage through one attempt: the slot's numbers never come twice."""
    numbers = [a.passages[0].number if a.passages else 0 for a in (left, right)]
    return left.key == right.key and numbers[0] == numbers[1]
