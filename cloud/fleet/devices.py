"""What a device is called by, and how that is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, Role, require
from cloud.errors import InvalidError, NotFoundError
from cloud.fleet.changes import touch
from cloud.fleet.models import Device, Site
from cloud.fleet.selectors import DEVICE, HUB_KEYS, SITE

LABELS_MAX = 64


def find(session: Session, device_id: str) -> Device:
    """Raises NotFoundError where there is none."""
    device = session.get(Device, device_id)
    if device is None:
        raise NotFoundError(
            f"there is no device {device_id}", "`argosy device list` shows the enrolled ones"
        )
    return device


def attributes(device: Device) -> dict[str, str]:
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
        InvalidError: there would be too many labels, or one of a name that is the hub's own.
    """
    require(principal, Role.OPERATOR)
    device = find(session, device_id)
    session.refresh(device, with_for_update=True)
    site = changes.get("site", device.site)
    if site is not None and session.get(Site, site) is None:
        raise NotFoundError(f"site: there is no site {site}", f"`argosy site create {site}`")
    labels = {**device.labels, **(changes.get("labels") or {})}
    device.site = site
    device.labels = {name: text for name, text in labels.items() if text is not None}
    device.models = list(changes.get("models", device.models))
    check_labels(device.labels)
    session.add(device)
    touch(session, [device_id])
    access.audit(session, principal, "device.describe", f"device/{device_id}", **dict(changes))
    return device


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises InvalidError where labels are too many, or one hides what the hub itself knows."""
    own = sorted(set(labels) & set(HUB_KEYS))
    if own:
        raise InvalidError(
            f"labels.{own[0]}: selectors read {own[0]} as the hub's own", "choose another name"
        )
    if len(labels) > LABELS_MAX:
        raise InvalidError(
            f"labels: {len(labels)} are over {LABELS_MAX}", "take some away, by setting them null"
        )
