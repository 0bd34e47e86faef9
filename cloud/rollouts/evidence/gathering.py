"""A rollout's evidence record, read from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.errors import NotFoundError
from cloud.registry import service as registry
from cloud.rollouts import queries, service
from cloud.rollouts.evidence.deviations import not_reverted
from cloud.rollouts.evidence.progress import Attempt, by_device
from cloud.rollouts.evidence.record import Origin, record
from cloud.rollouts.models import Rollout, RolloutEntry, RolloutGate
from cloud.rollouts.running.going_back import WayBack

ROWS_AT_ONCE = 1000
_LINEAGE = {
    "parent", "dataset", "dataset_version", "dataset_digest", "weights_sha256", "source",
    "created_at", "created_by",
}  # fmt: skip
_PROMOTION = {"alias", "evidence", "verdict", "forced", "reason", "at", "by"}


def collect(session: Session, principal: Principal, rollout_id: str, now: float) -> dict[str, Any]:
    """The record as JSON values, as it is at `now` (Unix seconds); that of a rollout that has
    ended changes only where its devices still do. Raises NotFoundError where there is none."""
    rollout = service.get(session, principal, rollout_id)
    rows = [Attempt(*row) for row in queries.attempts(session, rollout_id, Attempt._fields)]
    return record(
        rollout,
        rows,
        _looks(session, rollout_id),
        _journal(session, rollout_id),
        origin=_origin(session, principal, rollout),
        no_way_back=_no_way_back(session, rollout, rows),
        now=now,
    )


def _no_way_back(session: Session, rollout: Rollout, rows: Sequence[Attempt]) -> dict[str, str]:
    """Why devices of a rollout that is taken back cannot have what they had before."""
    left = [item["device"] for item in not_reverted(rollout, by_device(rows), {})]
    way, found = WayBack(session), {}
    for start in range(0, len(left), ROWS_AT_ONCE):
        ids = left[start : start + ROWS_AT_ONCE]
        for device_id, before in queries.befores(session, rollout.id, ids).items():
            found[device_id] = way.of(before)[1]
    return {device_id: reason for device_id, reason in found.items() if reason}


def _looks(session: Session, rollout_id: str) -> Sequence[RolloutGate]:
    rows: list[RolloutGate] = []
    while page := queries.gates(
        session,
        rollout_id,
        after=(rows[-1].wave, rows[-1].look) if rows else None,
        limit=ROWS_AT_ONCE,
    ):
        rows.extend(page)
    return rows


def _journal(session: Session, rollout_id: str) -> Sequence[RolloutEntry]:
    rows: list[RolloutEntry] = []
    last = 0
    while page := queries.entries(session, rollout_id, last, ROWS_AT_ONCE):
        rows.extend(page)
        last = page[-1].id or 0
    return rows


def _origin(session: Session, principal: Principal, rollout: Rollout) -> Origin:
    try:
        version = registry.get_version(session, principal, rollout.model, rollout.version)
        moves = registry.promotions(session, principal, rollout.model)
    except NotFoundError:  # deleted once nothing held it
        return Origin()
    ours = [move for move in moves if move.number == rollout.version]
    return Origin(
        lineage=version.model_dump(include=_LINEAGE),
        promotion=ours[-1].model_dump(include=_PROMOTION) if ours else None,
    )
