"""Of which devices something has changed that rollouts hang on."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import delete, text
from sqlmodel import Session, col

from cloud.fleet import queries
from cloud.fleet.models import DeviceChange
from cloud.lots import lots

# SQLite and PostgreSQL read this alike.
_COUNT_UP = text(
    "INSERT INTO device_change (device_id, number) VALUES (:device_id, 1) "
    "ON CONFLICT (device_id) DO UPDATE SET number = device_change.number + 1"
)


def touch(session: Session, device_ids: Iterable[str]) -> None:
    """Say that something of these devices has changed, in the transaction that changes it.

    Called by whoever changes what a rollout looks at: presence, what a device runs or can run,
    its desired slots, its labels, its executions.
    """
    # In one order everywhere, so that two transactions never wait for each other.
    rows = [{"device_id": device_id} for device_id in sorted(set(device_ids))]
    if rows:
        session.connection().execute(_COUNT_UP, rows)


def changed(session: Session, limit: int) -> dict[str, int]:
    """Device id → number of its changes, of at most `limit` devices."""
    return dict(queries.changes(session, limit))


def changed_of(session: Session, device_ids: Collection[str]) -> dict[str, int]:
    """As `changed`, of these devices."""
    found: dict[str, int] = {}
    for some in lots(device_ids):
        found.update(queries.changes_of(session, some))
    return found


def forget(session: Session, seen: dict[str, int]) -> None:
    """Take away what has been looked at: rows whose number is still the one that was seen."""
    by_number: dict[int, list[str]] = {}
    for device_id, number in sorted(seen.items()):
        by_number.setdefault(number, []).append(device_id)
    for number, device_ids in by_number.items():
        for some in lots(device_ids):
            session.connection().execute(
                delete(DeviceChange).where(
                    col(DeviceChange.number) == number, col(DeviceChange.device_id).in_(some)
                )
            )
