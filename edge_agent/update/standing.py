"""How the bundles of a slot stand on this device, and which of them may serve: one account.

Everything that asks "may this one serve, and which comes first?" asks here: a start, the way
back by hand, the way off a revoked bundle, and the pruning of the disk. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

from edge_agent.update.history import History
from edge_agent.update.slot_state import SlotState
from edge_agent.update.states import Committed, UpdateRecord, attempt_key, boot_digest
from protocol.messages import SlotDesired
from protocol.states import ExecutionState as S

ON_TRIAL = frozenset({S.SWAPPING, S.PROBATION, S.ROLLING_BACK})
"""Where an open attempt has put its bundle in charge, or is about to take it out of it."""

INSIST = "with --force it serves again all the same"


class Standing(str, Enum):
    """What the device knows of a bundle that it has had."""

    PROVEN = "proven"
    FAILED = "failed"
    LEFT = "left by hand"
    ON_TRIAL = "on trial"


ENDS = {
    S.SUCCEEDED: Standing.PROVEN,
    S.ROLLED_BACK: Standing.FAILED,
    S.REJECTED: Standing.FAILED,
}
"""What the end of an attempt says of its bundle; the other ends say nothing."""

LATE = {Standing.FAILED: 1, Standing.LEFT: 2}
"""What serves only where nothing before it can."""


def standings(state: SlotState) -> dict[str, Standing]:
    """By digest how it stands, the newest attempt first. What was never decided is absent."""
    found: dict[str, Standing] = {}
    on_trial = trial(state.record)
    if on_trial is not None:
        found[on_trial] = Standing.ON_TRIAL
    if state.committed is not None and state.committed.by_hand:
        left = state.committed.previous_digest
        if left is not None:
            found.setdefault(left, Standing.LEFT)
    for attempt in reversed(() if state.history is None else state.history.attempts):
        end = attempt.passages[-1].state if attempt.passages else None
        standing = Standing.LEFT if attempt.left else ENDS.get(end) if end else None
        if standing is not None:
            found.setdefault(attempt.bundle_digest, standing)
    return found


def trial(record: UpdateRecord | None) -> str | None:
    """The bundle that must not serve after a start, because its attempt had exchanged it and was
    not over. None where there is none, or nothing else that it could go back to."""
    if record is None or record.state not in ON_TRIAL:
        return None
    digest = record.desired.bundle_digest
    return None if record.previous_digest in (None, digest) else digest


def proven(state: SlotState) -> tuple[str, ...]:
    """The bundles that stood their last attempt on this device, the newest first."""
    return tuple(d for d, standing in standings(state).items() if standing is Standing.PROVEN)


def choices(state: SlotState, held: Collection[str] = ()) -> tuple[str, ...]:
    """The bundles that may serve after a start, the preferred one first.

    What was committed and what served before it, then of what lies on the disk (`held`) what is
    proven. What did not stand its last attempt since comes after those, and last what a person
    left. A bundle on trial is none of them.
    """
    committed, known = state.committed, standings(state)
    wanted = [boot_digest(state.record, committed)]
    if committed is not None:
        wanted += [committed.digest, committed.previous_digest]
    if state.record is not None and not state.record.terminal:
        wanted.append(state.record.previous_digest)
    wanted += [digest for digest in proven(state) if digest in held]
    kept = dict.fromkeys(d for d in wanted if d and known.get(d) is not Standing.ON_TRIAL)
    late = {digest: LATE.get(standing, 0) for digest, standing in known.items()}
    if committed is not None:
        late[committed.digest] = 0  # whatever came before, it was committed since
    return tuple(sorted(kept, key=lambda digest: late.get(digest, 0)))


def turns(state: SlotState, held: Collection[str]) -> tuple[str, ...]:
    """What may take over by itself from a bundle that is revoked, the preferred one first: of the
    choices those that nothing speaks against."""
    committed, known = state.committed, standings(state)
    ended_agent = committed.previous_digest if committed and _ended_agent(committed) else None
    doubted = {digest for digest, standing in known.items() if standing in LATE} | {ended_agent}
    return tuple(digest for digest in choices(state, held) if digest not in doubted)


def objection(state: SlotState, name: Callable[[str], str]) -> str:
    """Why the bundle before should serve again only where a person insists; else empty.

    name: what people call the bundle of a digest.
    """
    committed: Committed | None = state.committed
    if committed is None or committed.previous_digest is None:
        return ""
    digest = committed.previous_digest
    if _ended_agent(committed):
        return f"{committed.why}, and this would go back to it; {INSIST}"
    standing = standings(state).get(digest)
    if standing is Standing.LEFT:
        return f"somebody left {name(digest)} by hand, and this would go back to it; {INSIST}"
    if standing is Standing.FAILED:
        return f"{name(digest)} was {_last_end(state, digest)} in its last attempt; {INSIST}"
    return ""


def _ended_agent(committed: Committed) -> bool:
    """Whether what was before was passed over because it had ended the agent at its starts."""
    return bool(committed.why) and not committed.revoked


def was_left(history: History | None, wanted: SlotDesired) -> bool:
    """Whether a person left this very attempt: it is not taken up again, however often the hub
    comes back to it. A new attempt of the same bundle is another matter."""
    attempts = () if history is None else history.attempts
    return any(attempt.left and attempt.key == attempt_key(wanted) for attempt in attempts)


def _last_end(state: SlotState, digest: str) -> str:
    attempts = () if state.history is None else state.history.attempts
    ends = (a.passages[-1].state for a in reversed(attempts) if a.bundle_digest == digest)
    return next((end.value for end in ends if end in ENDS), "unknown")
