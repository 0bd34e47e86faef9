"""What a device is called by, and how that is changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import InvalidError, NotFoundError
from cloud.fleet import queries
from cloud.fleet.changes import touch
from cloud.fleet.models import Device, Site
from cloud.fleet.selectors import DEVICE, HUB_KEYS, SITE, is_word
from cloud.plain_text import one_line

LABELS_MAX = 64
READ_AT_ONCE = 5000


class Listed(NamedTuple):
    """What a device is chosen by; see `Device`, of which whole rows would be dear for a fleet."""

    id: str
    site: str | None
    labels: Mapping[str, str]
    models: Sequence[str]
    presence: str


def find(session: Session, device_id: str) -> Device:
    """Raises NotFoundError where there is none."""
    device = session.get(Device, device_id)
    if device is None:
        raise NotFoundError(
            f"there is no device {device_id}", "`argosy device list` shows the enrolled ones"
        )
    return device


def roster(session: Session, principal: Principal) -> Iterator[Listed]:
    """Every device, by id."""
    require(principal, Role.VIEWER)
    after = ""
    while rows := queries.roster_after(session, after, READ_AT_ONCE):
        yield from (Listed(*row) for row in rows)
        after = rows[-1][0]


def capability_texts(session: Session, device_ids: Collection[str]) -> dict[str, str | None]:
    """What each of these devices said that it can run, as JSON text; None where it never did.

    Devices with the same text can run the same. A few hundred devices at most.
    """
    return {
        device_id: None
        if reported is None
        else json.dumps(json.loads(reported)["capabilities"], sort_keys=True)
        for device_id, reported in queries.reports(session, device_ids)
    }


def attributes(device: Device | Listed) -> dict[str, str]:
    """What selectors look at: labels, and over them the hub's own `site` and `device`."""
    own = {DEVICE: device.id}
    if device.site is not None:
        own[SITE] = device.site
    return {**device.labels, **own}


def describe(
    session: Session, principal: Principal, device_id: str, changes: Mapping[str, Any]
) -> Device:
    """Change where a device stands, its labels or its models; what is not given stays.

    changes: `site` (a name, or None for none), `labels` (label -> text, or None to take it
        away), `models` (all of them).

    Raises:
        NotFoundError: there is no such device or site.
        InvalidError: there would be too many labels, or a new one is not as `check_labels` wants.
    """
    require(principal, Role.OPERATOR)
    device = find(session, device_id)
    session.refresh(device, with_for_update=True)
    site = changes.get("site", device.site)
    if site is not None and session.get(Site, site) is None:
        raise NotFoundError(f"site: there is no site {site}", f"`argosy site create {site}`")
    changed: Mapping[str, str | None] = changes.get("labels") or {}
    labels = {**device.labels, **changed}
    device.site = site
    device.labels = {name: text for name, text in labels.items() if text is not None}
    device.models = list(changes.get("models", device.models))
    check_labels({name: text for name, text in changed.items() if text is not None})
    check_label_count(device.labels)
    session.add(device)
    touch(session, [device_id])
    access.audit(session, principal, "device.describe", f"device/{device_id}", **dict(changes))
    return device


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises InvalidError where a new label cannot be named by selectors, hides what the hub itself
    knows, or is no plain text."""
    for key, text in labels.items():
        if key in HUB_KEYS:
            raise InvalidError(
                f"labels.{key}: selectors read {key} as the hub's own", "choose another name"
            )
        if not is_word(key):
            raise InvalidError(
                f"labels: {key[:80]!r} is no name that selectors read",
                "use letters, digits and . _ - / : @ +, a letter, digit or _ first",
            )
        try:
            one_line(text)
        except ValueError as error:
            raise InvalidError(f"labels.{key}: {error}", "take it out") from error


def check_label_count(labels: Mapping[str, str]) -> None:
    """Raises InvalidError where a device has too many."""
    if len(labels) > LABELS_MAX:
        raise InvalidError(
            f"labels: {len(labels)} are over {LABELS_MAX}", "take some away, by setting them null"
        )
