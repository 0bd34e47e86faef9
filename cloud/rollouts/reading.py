"""Rollouts as they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from sqlmodel import Session

from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, NotFoundError
from cloud.rollouts import queries
from cloud.rollouts.models import Execution, Rollout, RolloutEntry, RolloutGate
from cloud.rollouts.states import word_of
from protocol.states import ExecutionState

PREFIX_DIGITS_MIN = 6
_PREFIX = re.compile(f"[0-9a-f]{{{PREFIX_DIGITS_MIN},31}}")
CANDIDATES_MAX = 5


def list_rollouts(
    session: Session, principal: Principal, model: str | None, before: float | None, limit: int
) -> Sequence[Rollout]:
    """Newest first."""
    require(principal, Role.VIEWER)
    return queries.rollouts(session, model, before, limit)


def id_of(session: Session, principal: Principal, given: str) -> str:
    """The id of the only rollout whose id begins so. A whole id stays what it is.

    Raises:
        NotFoundError: there is none, or fewer than PREFIX_DIGITS_MIN hex digits name it.
        ConflictError: several begin so.
    """
    require(principal, Role.VIEWER)
    if not _PREFIX.fullmatch(given):
        return get(session, principal, given).id
    found = queries.rollouts(session, None, None, CANDIDATES_MAX + 1, given)
    if not found:
        raise NotFoundError(f"there is no rollout {given}", "`argosy rollout list`")
    if len(found) > 1:
        more = ", …" if len(found) > CANDIDATES_MAX else ""
        named = ", ".join(f"{r.id} ({r.name})" for r in found[:CANDIDATES_MAX])
        raise ConflictError(
            f"several rollouts begin with {given}: {named}{more}", "give more digits of the id"
        )
    return found[0].id


def get(session: Session, principal: Principal, rollout_id: str) -> Rollout:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    rollout = session.get(Rollout, rollout_id)
    if rollout is None:
        raise NotFoundError(
            f"there is no rollout {rollout_id}",
            f"`argosy rollout list` shows them; {PREFIX_DIGITS_MIN} digits that the id begins "
            "with are enough",
        )
    return rollout


def executions(session: Session, rollout: Rollout) -> Sequence[Execution]:
    """Every attempt of every device, by device and attempt."""
    return queries.executions(session, rollout.id)


def executions_page(
    session: Session,
    principal: Principal,
    rollout_id: str,
    *,
    after: tuple[str, int] | None = None,
    limit: int,
    wave: int | None = None,
    state: str | None = None,
) -> Sequence[Execution]:
    """Attempts by device and attempt, from the one after `after` (device id, attempt).

    Raises NotFoundError where there is no such rollout.
    """
    get(session, principal, rollout_id)
    return queries.executions_page(
        session, rollout_id, after=after, limit=limit, wave=wave, state=state
    )


def first_executions(session: Session, rollout: Rollout, limit: int) -> Sequence[Execution]:
    """The first attempts by device and attempt; of those beyond them, the ones in shadow, for
    a person may be asked about them."""
    rows = list(queries.executions_page(session, rollout.id, limit=limit))
    if len(rows) == limit:
        known = {(row.device_id, row.attempt) for row in rows}
        state = ExecutionState.SHADOWING.value
        shadowing = queries.executions_page(session, rollout.id, limit=limit, state=state)
        rows += [row for row in shadowing if (row.device_id, row.attempt) not in known]
    return rows


def wave_counts(session: Session, rollout: Rollout) -> list[Counter[str]]:
    """For each wave, of how many devices the latest attempt is where: see `states.word_of`."""
    counts: list[Counter[str]] = [Counter() for _ in rollout.spec["waves"]]
    for wave, state, reverts, devices in queries.latest_counts(session, rollout.id):
        counts[wave][word_of(state, reverts=reverts)] += devices
    return counts


def gates(
    session: Session,
    principal: Principal,
    rollout_id: str,
    *,
    wave: int | None = None,
    after: tuple[int, int] | None = None,
    limit: int,
) -> Sequence[RolloutGate]:
    """Looks at gates, by wave and look, from the one after `after`. Raises NotFoundError."""
    get(session, principal, rollout_id)
    return queries.gates(session, rollout_id, wave=wave, after=after, limit=limit)


def journal(
    session: Session, principal: Principal, rollout_id: str, *, after: int = 0, limit: int
) -> Sequence[RolloutEntry]:
    """What was done and why, oldest first, after the entry `after`. Raises NotFoundError."""
    get(session, principal, rollout_id)
    return queries.entries(session, rollout_id, after, limit)
