"""HTTP of the fleet: /sites, /groups and /devices. Who uses a group is known above, so there it is
deleted; and who holds a slot, so there its desired state is changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from sqlmodel import Session

from cloud.dependencies import LimitDep, Page, PrincipalDep, SessionDep, SettingsDep, page
from cloud.fleet import service
from cloud.fleet.models import Device, DeviceCommand, DeviceGroup
from cloud.fleet.schemas import (
    CommandCreate,
    CommandView,
    DeviceCreate,
    DeviceCreated,
    DeviceDescription,
    DeviceToken,
    DeviceView,
    GroupCreate,
    GroupView,
    SiteCreate,
    SiteView,
)

router = APIRouter(tags=["fleet"])


def _view(device: Device) -> DeviceView:
    values = device.model_dump()
    for name in ("reported", "desired"):
        values[name] = json.loads(values[name]) if values[name] else None
    return DeviceView(**values)


def _group_views(session: Session, rows: Sequence[DeviceGroup]) -> list[GroupView]:
    sizes = service.group_sizes(session, rows)
    return [GroupView(devices=sizes[row.name], **row.model_dump()) for row in rows]


def _command_view(row: DeviceCommand) -> CommandView:
    return CommandView(
        command_id=row.id, state=service.command_state(row), **row.model_dump(exclude={"id"})
    )


@router.post("/sites", status_code=201)
def create_site(body: SiteCreate, session: SessionDep, principal: PrincipalDep) -> SiteView:
    site = service.create_site(session, principal, body.name, body.time_zone)
    return SiteView(**site.model_dump())


@router.get("/sites")
def list_sites(
    session: SessionDep, principal: PrincipalDep, cursor: str | None = None, limit: LimitDep = 100
) -> Page[SiteView]:
    rows = service.list_sites(session, principal, cursor, limit)
    items = [SiteView(**row.model_dump()) for row in rows]
    return page(items, limit, items[-1].name if items else "")


@router.post("/groups", status_code=201)
def create_group(body: GroupCreate, session: SessionDep, principal: PrincipalDep) -> GroupView:
    row = service.create_group(session, principal, body.name, body.selector)
    return _group_views(session, [row])[0]


@router.get("/groups")
def list_groups(
    session: SessionDep, principal: PrincipalDep, cursor: str | None = None, limit: LimitDep = 100
) -> Page[GroupView]:
    items = _group_views(session, service.list_groups(session, principal, cursor, limit))
    return page(items, limit, items[-1].name if items else "")


@router.get("/groups/{name}")
def get_group(name: str, session: SessionDep, principal: PrincipalDep) -> GroupView:
    return _group_views(session, [service.get_group(session, principal, name)])[0]


@router.post("/devices", status_code=201)
def enrol(body: DeviceCreate, session: SessionDep, principal: PrincipalDep) -> DeviceCreated:
    device, token = service.enrol(
        session, principal, body.device_id, site=body.site, labels=body.labels, models=body.models
    )
    return DeviceCreated(device=_view(device), token=token)


@router.get("/devices")
def list_devices(
    session: SessionDep,
    principal: PrincipalDep,
    *,
    site: str | None = None,
    selector: Annotated[str, Query(max_length=4096)] = "",
    cursor: str | None = None,
    limit: LimitDep = 100,
) -> Page[DeviceView]:
    """By id; with `selector` those that it names now."""
    rows: Sequence[Device]
    if selector:
        rows = service.choose(session, principal, selector, site=site, after=cursor, limit=limit)
    else:
        rows = service.list_devices(session, principal, site=site, after=cursor, limit=limit)
    items = [_view(row) for row in rows]
    return page(items, limit, items[-1].id if items else "")


@router.get("/devices/{device_id}")
def get_device(device_id: str, session: SessionDep, principal: PrincipalDep) -> DeviceView:
    return _view(service.get_device(session, principal, device_id))


@router.patch("/devices/{device_id}")
def describe(
    device_id: str, body: DeviceDescription, session: SessionDep, principal: PrincipalDep
) -> DeviceView:
    """Change where the device stands, its labels or its models."""
    changes = body.model_dump(exclude_unset=True)
    return _view(service.describe(session, principal, device_id, changes))


@router.post("/devices/{device_id}/token")
def rotate_token(device_id: str, session: SessionDep, principal: PrincipalDep) -> DeviceToken:
    return DeviceToken(token=service.rotate_token(session, principal, device_id))


@router.post("/devices/{device_id}/commands", status_code=202)
def send_command(
    device_id: str,
    body: CommandCreate,
    session: SessionDep,
    principal: PrincipalDep,
    settings: SettingsDep,
) -> CommandView:
    row = service.send_command(
        session,
        principal,
        device_id,
        body.name,
        body.arguments,
        expires_s=settings.limits.command_expires_s,
    )
    return _command_view(row)


@router.get("/devices/{device_id}/commands/{command_id}")
def get_command(
    device_id: str, command_id: str, session: SessionDep, principal: PrincipalDep
) -> CommandView:
    return _command_view(service.get_command(session, principal, device_id, command_id))
