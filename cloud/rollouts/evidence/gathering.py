"""A rollout's evidence record, read from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from cloud.access.principal import Principal
from cloud.errors import NotFoundError
from cloud.fleet import facts as fleet_facts
from cloud.fleet import service as fleet
from cloud.lots import lots
from cloud.registry import service as registry
from cloud.rollouts import queries, service
from cloud.rollouts.evidence.deviations import Beside, to_take_back
from cloud.rollouts.evidence.progress import Attempt, by_device
from cloud.rollouts.evidence.record import Origin, record
from cloud.rollouts.models import Rollout, RolloutEntry, RolloutGate
from cloud.rollouts.request.spec import spec_of
from cloud.rollouts.running.going_back import WayBack
from cloud.rollouts.running.looking import runs_again
from protocol.messages import Desired, MaintenanceWindow

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
        beside=_beside(session, rollout, rows),
        now=now,
    )


def _beside(session: Session, rollout: Rollout, rows: Sequence[Attempt]) -> Beside:
    left = to_take_back(rollout, by_device(rows))
    moved_on = _moved_on(session, rollout, left)
    kept = [device_id for device_id in left if device_id not in moved_on]
    diverged = sorted({row.device_id for row in rows if row.diverged})
    return Beside(
        _no_way_back(session, rollout, kept),
        moved_on,
        _windows(session, rollout, rows),
        {name for some in lots(diverged) for name in runs_again(session, rollout, some)},
    )


def _moved_on(session: Session, rollout: Rollout, left: Sequence[str]) -> dict[str, str]:
    """What has taken the slot of devices that were to come back."""
    found, own = {}, {build["digest"] for build in rollout.builds}
    for some in lots(left):
        for device_id, said in fleet_facts.texts(session, some).items():
            desired = None if said.desired is None else Desired.model_validate_json(said.desired)
            slot = desired.slots.get(rollout.model) if desired is not None else None
            if slot is None or slot.rollout_id == rollout.id or slot.bundle_digest in own:
                continue
            by = f"rollout {slot.rollout_id}" if slot.rollout_id else "a change by hand"
            found[device_id] = f"{by} has the slot, with v{slot.version}"
    return found


def _no_way_back(session: Session, rollout: Rollout, left: Sequence[str]) -> dict[str, str]:
    """Why devices of a rollout that is taken back cannot have what they had before."""
    way, found = WayBack(session), {}
    for some in lots(left, ROWS_AT_ONCE):
        for device_id, before in queries.befores(session, rollout.id, some).items():
            found[device_id] = way.of(before, device_id)[1]
    return {device_id: reason for device_id, reason in found.items() if reason}


def _windows(
    session: Session, rollout: Rollout, rows: Sequence[Attempt]
) -> dict[str, MaintenanceWindow]:
    """The window of each device that has exchanged, on the clock of its site."""
    asked = spec_of(rollout).window
    if asked is None:
        return {}
    exchanged = sorted({row.device_id for row in rows if row.exchanged_at is not None})
    by_site: dict[str | None, MaintenanceWindow] = {}
    found = {}
    for some in lots(exchanged):
        for device in fleet_facts.facts(session, some):
            if device.site not in by_site:
                by_site[device.site] = asked.on_clock(fleet.time_zone(session, device))
            found[device.id] = by_site[device.site]
    return found


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
