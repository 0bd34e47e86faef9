"""What is known of many devices, as plain values: rows of a whole fleet would be dear."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from sqlmodel import Session

from cloud.fleet import queries, selectors
from cloud.fleet.models import Device
from cloud.fleet.selectors import Selector
from cloud.lots import lots

DEVICES_AT_ONCE = 5000


class Facts(NamedTuple):
    """See `Device`."""

    id: str
    site: str | None
    presence: str
    last_seen: float | None
    running: Mapping[str, str]


class Texts(NamedTuple):
    """A device's last messages as JSON text."""

    reported: str | None
    desired: str | None


NO_TEXTS = Texts(None, None)


def facts(session: Session, device_ids: Collection[str]) -> list[Facts]:
    """Of those of `device_ids` that are enrolled; a few hundred at most."""
    return [Facts(*row) for row in queries.facts(session, device_ids)]


def texts(session: Session, device_ids: Collection[str]) -> dict[str, Texts]:
    """As `facts`, by device id."""
    return {row[0]: Texts(row[1], row[2]) for row in queries.texts(session, device_ids)}


def boots(session: Session, device_ids: Collection[str]) -> dict[str, int]:
    """How often each was seen to start, by device id."""
    return dict(queries.boots(session, device_ids))


def rows(session: Session, device_ids: Collection[str]) -> dict[str, Device]:
    """The devices' own rows, to change them, by device id; a few hundred at most."""
    return {device.id: device for device in queries.rows(session, device_ids)}


def fitting(
    session: Session,
    model: str,
    selector: Selector,
    groups: Mapping[str, Selector],
    among: Collection[str] | None = None,
) -> list[str]:
    """Devices that use `model` and fit; of `among` only, where that is given."""
    found = []
    for device_id, site, labels, models in _addresses(session, among):
        if model in models:
            own = {selectors.DEVICE: device_id} | ({} if site is None else {selectors.SITE: site})
            if selectors.fits(selector, {**labels, **own}, groups):
                found.append(device_id)
    return found


def _addresses(session: Session, among: Collection[str] | None) -> Iterator[queries.Address]:
    if among is not None:
        for some in lots(among):
            yield from queries.addresses(session, some)
        return
    after = ""
    while page := queries.addresses_after(session, after, DEVICES_AT_ONCE):
        yield from page
        after = page[-1][0]


def desired_after(session: Session, after: str, limit: int) -> list[tuple[str, str | None]]:
    """Device id and desired state as JSON text, by id, of the devices after `after`."""
    return list(queries.desired_after(session, after, limit))
