"""Every SELECT of the fleet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import func
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from cloud.fleet.models import Device, DeviceChange, DeviceCommand, DeviceGroup, Site


def sites(session: Session, after: str | None, limit: int) -> Sequence[Site]:
    query = select(Site).order_by(col(Site.name)).limit(limit)
    if after is not None:
        query = query.where(col(Site.name) > after)
    return session.exec(query).all()


def groups(
    session: Session, after: str | None = None, limit: int | None = None
) -> Sequence[DeviceGroup]:
    """By name, from the one after `after`."""
    query = select(DeviceGroup).order_by(col(DeviceGroup.name)).limit(limit)
    if after is not None:
        query = query.where(col(DeviceGroup.name) > after)
    return session.exec(query).all()


def devices(
    session: Session, site: str | None, after: str | None, limit: int | None
) -> Sequence[Device]:
    query = select(Device).order_by(col(Device.id)).limit(limit)
    if site is not None:
        query = query.where(Device.site == site)
    if after is not None:
        query = query.where(col(Device.id) > after)
    return session.exec(query).all()


def known_ids(session: Session, device_ids: Collection[str]) -> set[str]:
    return set(session.exec(select(Device.id).where(col(Device.id).in_(device_ids))).all())


def running(session: Session) -> Sequence[tuple[str, dict[str, str]]]:
    rows = session.exec(select(Device.id, Device.running)).all()
    return [(device_id, dict(slots)) for device_id, slots in rows]


def desired_states(session: Session) -> Sequence[tuple[str, str]]:
    rows = session.exec(
        select(Device.id, Device.desired).where(col(Device.desired).is_not(None))
    ).all()
    return [(device_id, desired) for device_id, desired in rows if desired is not None]


def pending_commands(session: Session, now: float) -> Sequence[DeviceCommand]:
    return session.exec(
        select(DeviceCommand).where(
            col(DeviceCommand.answered_at).is_(None), DeviceCommand.expires_at > now
        )
    ).all()


def count_by_presence(session: Session) -> dict[str, int]:
    query = select(Device.presence, func.count()).group_by(Device.presence)
    return dict(session.exec(query).all())


def changes(session: Session, limit: int) -> Sequence[tuple[str, int]]:
    query = select(DeviceChange.device_id, DeviceChange.number).limit(limit)
    return session.exec(query).all()


def changes_of(session: Session, device_ids: Collection[str]) -> Sequence[tuple[str, int]]:
    query = select(DeviceChange.device_id, DeviceChange.number)
    return session.exec(query.where(col(DeviceChange.device_id).in_(device_ids))).all()


def facts(
    session: Session, device_ids: Collection[str]
) -> list[tuple[str, str | None, str, float | None, dict[str, str]]]:
    """(id, site, presence, last seen, running)."""
    query = columns(
        col(Device.id),
        col(Device.site),
        col(Device.presence),
        col(Device.last_seen),
        col(Device.running),
    ).where(col(Device.id).in_(device_ids))
    return [(i, s, p, seen, r) for i, s, p, seen, r in session.connection().execute(query)]


def texts(
    session: Session, device_ids: Collection[str]
) -> Sequence[tuple[str, str | None, str | None]]:
    """(id, last report, desired state), both as JSON text."""
    query = select(Device.id, Device.reported, Device.desired)
    return session.exec(query.where(col(Device.id).in_(device_ids))).all()


def boots(session: Session, device_ids: Collection[str]) -> Sequence[tuple[str, int]]:
    query = select(Device.id, Device.boots)
    return session.exec(query.where(col(Device.id).in_(device_ids))).all()


def rows(session: Session, device_ids: Collection[str]) -> Sequence[Device]:
    """Kept from others until the transaction ends."""
    query = select(Device).where(col(Device.id).in_(device_ids))
    return session.exec(query.with_for_update()).all()


Address = tuple[str, str | None, Mapping[str, str], Sequence[str]]
"""(id, site, labels, models)"""


def addresses(session: Session, device_ids: Collection[str]) -> list[Address]:
    query = select(Device.id, Device.site, Device.labels, Device.models)
    found = session.exec(query.where(col(Device.id).in_(device_ids)))
    return [(i, site, labels, models) for i, site, labels, models in found]


def addresses_after(session: Session, after: str, limit: int) -> list[Address]:
    """As `addresses`, by id, of the devices after `after`."""
    query = select(Device.id, Device.site, Device.labels, Device.models)
    page = query.where(col(Device.id) > after).order_by(col(Device.id)).limit(limit)
    return [(i, site, labels, models) for i, site, labels, models in session.exec(page)]


def desired_after(session: Session, after: str, limit: int) -> Sequence[tuple[str, str | None]]:
    query = select(Device.id, Device.desired).where(col(Device.id) > after)
    return session.exec(query.order_by(col(Device.id)).limit(limit)).all()


def roster_after(
    session: Session, after: str, limit: int
) -> list[tuple[str, str | None, Mapping[str, str], Sequence[str], str]]:
    """(id, site, labels, models, presence), by id, of the devices after `after`."""
    query = columns(
        col(Device.id),
        col(Device.site),
        col(Device.labels),
        col(Device.models),
        col(Device.presence),
    )
    page = query.where(col(Device.id) > after).order_by(col(Device.id)).limit(limit)
    return [(i, site, la, mo, pre) for i, site, la, mo, pre in session.connection().execute(page)]


def reports(session: Session, device_ids: Collection[str]) -> Sequence[tuple[str, str | None]]:
    """(id, last report as JSON text)."""
    query = select(Device.id, Device.reported)
    return session.exec(query.where(col(Device.id).in_(device_ids))).all()
