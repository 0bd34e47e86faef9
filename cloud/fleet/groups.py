"""Dynamic groups: a name for whatever devices a selector names at the moment it is used."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import queries, selectors
from cloud.fleet.devices import attributes
from cloud.fleet.models import Device, DeviceGroup
from cloud.fleet.selectors import Selector
from cloud.plain_text import one_line

READ_AT_ONCE = 1000


def create_group(session: Session, principal: Principal, name: str, selector: str) -> DeviceGroup:
    """A new group. Its selector names no group: so one never goes round in a circle.

    Raises:
        InvalidError: the selector cannot be read, has control characters, names every device,
            or names a group.
        ConflictError: there is a group of this name.
    """
    require(principal, Role.OPERATOR)
    found = selectors.parse(selector)
    try:
        one_line(selector)
    except ValueError as error:
        raise InvalidError(f"selector: {error}", "take it out; no label has one") from error
    if not found:
        raise InvalidError(
            "selector: it is empty and would name every device", "write one, as line in (a,b)"
        )
    if any(term.key == selectors.GROUP for term in found):
        raise InvalidError(
            "selector: a group cannot name a group", "write that group's own terms in its place"
        )
    if session.get(DeviceGroup, name) is not None:
        raise ConflictError(
            f"group {name} exists already", f"choose another name, or `argosy group delete {name}`"
        )
    row = DeviceGroup(
        name=name, selector=selector, created_at=time.time(), created_by=principal.name
    )
    session.add(row)
    access.audit(session, principal, "group.create", f"group/{name}", selector=selector)
    return row


def list_groups(
    session: Session, principal: Principal, after: str | None, limit: int
) -> Sequence[DeviceGroup]:
    """By name."""
    require(principal, Role.VIEWER)
    return queries.groups(session, after, limit)


def get_group(session: Session, principal: Principal, name: str) -> DeviceGroup:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    row = session.get(DeviceGroup, name)
    if row is None:
        raise NotFoundError(f"there is no group {name}", "`argosy group list` shows the groups")
    return row


def delete_group(session: Session, principal: Principal, name: str) -> None:
    """Take the name away; its devices stay. Whether something goes by it, the slices above know.

    Raises NotFoundError where there is none.
    """
    require(principal, Role.OPERATOR)
    row = get_group(session, principal, name)
    session.delete(row)
    access.audit(session, principal, "group.delete", f"group/{name}", selector=row.selector)


def group_selectors(session: Session) -> dict[str, Selector]:
    """What every group stands for."""
    return {g.name: selectors.parse(g.selector, g.name) for g in queries.groups(session)}


def group_sizes(session: Session, groups: Sequence[DeviceGroup]) -> dict[str, int]:
    """How many devices each of these has now."""
    parsed = {group.name: selectors.parse(group.selector, group.name) for group in groups}
    sizes = dict.fromkeys(parsed, 0)
    if not parsed:
        return sizes
    for device in queries.devices(session, None, None, None):
        there = attributes(device)
        for name, selector in parsed.items():
            sizes[name] += selectors.fits(selector, there)
    return sizes


def choose(
    session: Session,
    principal: Principal,
    selector: str,
    *,
    site: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Device]:
    """Devices that a selector names now, by id, from the one after `after`.

    Raises InvalidError where it cannot be read, NotFoundError where it names an unknown group.
    """
    require(principal, Role.VIEWER)
    wanted, groups = selectors.parse(selector), group_selectors(session)
    unknown = sorted(selectors.groups_named(wanted) - set(groups))
    if unknown:
        raise NotFoundError(
            f"selector: there is no group {unknown[0]}", "`argosy group list` shows the groups"
        )
    found: list[Device] = []
    while len(found) < limit:
        rows = queries.devices(session, site, after, READ_AT_ONCE)
        found += [row for row in rows if selectors.fits(wanted, attributes(row), groups)]
        if len(rows) < READ_AT_ONCE:
            break
        after = rows[-1].id
    return found[:limit]
