"""Verbs of the fleet. Desired states are stored first and published after the commit."""

from __future__ import annotations

import time
import uuid
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from sqlmodel import Session

from cloud.access import service as access
from cloud.access.principal import Principal, PrincipalKind, Role, require
from cloud.database import publish_after_commit
from cloud.errors import ConflictError, InvalidError, NotFoundError
from cloud.fleet import queries
from cloud.fleet.changes import changed, changed_of, forget, touch
from cloud.fleet.devices import (
    Listed,
    attributes,
    capability_texts,
    check_label_count,
    check_labels,
    describe,
    find,
    roster,
)
from cloud.fleet.floors import not_below, outliving
from cloud.fleet.groups import (
    choose,
    create_group,
    delete_group,
    get_group,
    group_selectors,
    group_sizes,
    list_groups,
)
from cloud.fleet.models import Device, DeviceCommand, Site
from protocol.builds import Capabilities
from protocol.messages import (
    Command,
    Desired,
    HarvestPolicy,
    Reported,
    SlotDesired,
    encode,
)
from protocol.topics import Kind, Topic, valid_device_id

__all__ = [
    "Listed",
    "attributes",
    "capabilities_of",
    "capability_texts",
    "change_desired",
    "changed",
    "changed_of",
    "choose",
    "command_state",
    "count_by_presence",
    "create_group",
    "create_site",
    "delete_group",
    "describe",
    "desired",
    "enrol",
    "forget",
    "get_command",
    "get_device",
    "get_group",
    "group_selectors",
    "group_sizes",
    "keep_in_step",
    "known_ids",
    "list_devices",
    "list_groups",
    "list_sites",
    "reported",
    "roster",
    "rotate_token",
    "running",
    "send_command",
    "set_slot",
    "standing_messages",
    "time_zone",
    "touch",
]


def create_site(session: Session, principal: Principal, name: str, time_zone: str) -> Site:
    """A new site. Raises ConflictError where it exists, InvalidError on an unknown zone."""
    require(principal, Role.OPERATOR)
    if session.get(Site, name) is not None:
        raise ConflictError(f"site {name} exists already", "choose another name")
    if time_zone not in zoneinfo.available_timezones():
        raise InvalidError(f"{time_zone!r} is no time zone", "name one like Europe/Berlin or UTC")
    site = Site(name=name, time_zone=time_zone, created_at=time.time())
    session.add(site)
    access.audit(session, principal, "site.create", f"site/{name}", time_zone=time_zone)
    return site


def list_sites(
    session: Session, principal: Principal, after: str | None, limit: int
) -> Sequence[Site]:
    require(principal, Role.VIEWER)
    return queries.sites(session, after, limit)


def enrol(
    session: Session,
    principal: Principal,
    device_id: str,
    *,
    site: str | None = None,
    labels: Mapping[str, str] | None = None,
    models: Sequence[str] = (),
) -> tuple[Device, str]:
    """A new device and its token, which is shown this once.

    Raises:
        InvalidError: the id cannot be a part of a topic, or a label is not as
            `check_labels` wants.
        ConflictError: the device exists already.
        NotFoundError: the site does not exist.
    """
    require(principal, Role.OPERATOR)
    if not valid_device_id(device_id):
        raise InvalidError(
            f"{device_id[:80]!r} is no device id",
            "use 1 to 64 letters, digits, '.', '_', '-'; `hub` is the hub's own",
        )
    if session.get(Device, device_id) is not None:
        raise ConflictError(
            f"device {device_id} is enrolled already", "choose another id or rotate its token"
        )
    if site is not None and session.get(Site, site) is None:
        raise NotFoundError(f"there is no site {site}", f"`argosy site create {site}`")
    check_labels(labels or {})
    check_label_count(labels or {})
    device = Device(
        id=device_id,
        site=site,
        labels=dict(labels or {}),
        models=list(models),
        created_at=time.time(),
    )
    session.add(device)
    session.flush()
    touch(session, [device_id])
    _, token = access.issue(session, PrincipalKind.DEVICE, device_id, Role.DEVICE)
    access.audit(
        session, principal, "device.enrol", f"device/{device_id}", site=site, models=list(models)
    )
    return device, token


def rotate_token(session: Session, principal: Principal, device_id: str) -> str:
    """A new token for a device; the old ones are worthless at once.

    The session epoch begins anew, as a device that lost its data counts from 1 again.
    """
    require(principal, Role.OPERATOR)
    device = find(session, device_id)
    access.revoke_of(session, PrincipalKind.DEVICE, device_id)
    _, token = access.issue(session, PrincipalKind.DEVICE, device_id, Role.DEVICE)
    device.session_epoch = 0
    session.add(device)
    access.audit(session, principal, "device.rotate_token", f"device/{device_id}")
    return token


def get_device(session: Session, principal: Principal, device_id: str) -> Device:
    """Raises NotFoundError where there is none."""
    require(principal, Role.VIEWER)
    return find(session, device_id)


def list_devices(
    session: Session,
    principal: Principal,
    *,
    site: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Sequence[Device]:
    require(principal, Role.VIEWER)
    return queries.devices(session, site, after, limit)


def running(session: Session, principal: Principal) -> dict[str, dict[str, str]]:
    """device id -> slot -> digest, of every device, as last reported."""
    require(principal, Role.VIEWER)
    return dict(queries.running(session))


def known_ids(session: Session, device_ids: set[str]) -> set[str]:
    """Those of `device_ids` that are enrolled."""
    return queries.known_ids(session, device_ids)


class Sited(Protocol):
    """Whatever says where a device stands."""

    @property
    def site(self) -> str | None: ...


def time_zone(session: Session, device: Sited) -> str:
    """The time zone of the device's site; UTC where it stands at none."""
    site = None if device.site is None else session.get(Site, device.site)
    return "UTC" if site is None else site.time_zone


def reported(device: Device) -> Reported | None:
    """The device's last report, if it ever sent one."""
    return None if device.reported is None else Reported.model_validate_json(device.reported)


def capabilities_of(text: str) -> Capabilities:
    """What a text of `capability_texts` says."""
    return Capabilities.model_validate_json(text)


def desired(device: Device) -> Desired | None:
    """What the device should run, if that was ever set."""
    return None if device.desired is None else Desired.model_validate_json(device.desired)


def set_slot(
    session: Session, principal: Principal, device_id: str, slot: str, wanted: SlotDesired | None
) -> int:
    """Set (None: take away) one slot of a device's desired state; returns the generation."""
    return change_desired(session, principal, device_id, slots={slot: wanted})


def change_desired(
    session: Session,
    principal: Principal,
    device_id: str,
    *,
    slots: Mapping[str, SlotDesired | None] | None = None,
    floors: Mapping[str, int] | None = None,
    harvest: HarvestPolicy | None = None,
    telemetry_window_s: float | None = None,
    keep_floors: bool = False,
    known: bool = False,
) -> int:
    """Merge a change into a device's desired state.

    A change that changes nothing keeps the generation. A new generation is stored and
    published, retained, after the commit. A model's floor outlives the slot that said it, for
    the device may go on with what it has; `floors` says others. With `keep_floors` a slot's
    floor is not lowered: what a floor revokes is not for whoever sets a slot to bring back. With
    `known` the device does not count as changed: whoever looks at changes makes this one itself.
    """
    require(principal, Role.OPERATOR)
    device = find(session, device_id)
    before = desired(device) or Desired(device_id=device_id, generation=1)
    if keep_floors:
        slots = {name: not_below(slot, before) for name, slot in (slots or {}).items()}
    merged = {**before.slots, **(slots or {})}
    wanted = {name: slot for name, slot in merged.items() if slot is not None}
    after = before.model_copy(
        update={
            "slots": wanted,
            "floors": outliving(before, wanted.values(), floors or {}),
            "harvest": harvest or before.harvest,
            "telemetry_window_s": telemetry_window_s or before.telemetry_window_s,
        }
    )
    if device.desired is not None and after == before:
        return device.desired_generation
    generation = device.desired_generation + 1
    _store_desired(session, device, after, generation)
    if not known:
        touch(session, [device_id])
    access.audit(
        session,
        principal,
        "device.desire",
        f"device/{device_id}",
        generation=generation,
        slots={n: s and s.bundle_digest for n, s in (slots or {}).items()},
    )
    return generation


def keep_in_step(session: Session, device: Device, generation: int) -> None:
    """Answer the generation that a device has seen last.

    One that has seen more than this hub knows it from before the hub was restored: go above it.
    One that has seen less is told again: the word may have been lost on its way to the broker,
    or an older one may have come after it and stand there now.
    """
    if generation > device.desired_generation:
        state = desired(device) or Desired(device_id=device.id, generation=1)
        _store_desired(session, device, state, generation + 1)
    elif generation < device.desired_generation and device.desired is not None:
        _publish_desired(session, device)


def send_command(
    session: Session,
    principal: Principal,
    device_id: str,
    name: Literal["report", "snapshot"],
    arguments: dict[str, Any],
    *,
    expires_s: float,
) -> DeviceCommand:
    """Store a command and publish it after the commit."""
    require(principal, Role.OPERATOR)
    find(session, device_id)
    now = time.time()
    row = DeviceCommand(
        id=uuid.uuid4().hex,
        device_id=device_id,
        name=name,
        arguments=arguments,
        created_at=now,
        expires_at=now + expires_s,
    )
    session.add(row)
    access.audit(session, principal, "device.command", f"device/{device_id}", name=name)
    publish_after_commit(session, *_command_message(row))
    return row


def get_command(
    session: Session, principal: Principal, device_id: str, command_id: str
) -> DeviceCommand:
    """Raises NotFoundError where the device has no such command."""
    require(principal, Role.VIEWER)
    row = session.get(DeviceCommand, command_id)
    if row is None or row.device_id != device_id:
        raise NotFoundError(f"device {device_id} has no command {command_id}", "check the ids")
    return row


def command_state(row: DeviceCommand) -> Literal["pending", "answered", "expired"]:
    if row.answered_at is not None:
        return "answered"
    return "pending" if time.time() < row.expires_at else "expired"


def standing_messages(session: Session) -> list[tuple[Topic, bytes]]:
    """What a broker that has forgotten everything must be told: desired states, commands."""
    states = [
        (Topic(Kind.DESIRED, device_id=device_id), text.encode())
        for device_id, text in queries.desired_states(session)
    ]
    pending = queries.pending_commands(session, time.time())
    return states + [_command_message(row) for row in pending]


def count_by_presence(session: Session) -> dict[str, int]:
    return queries.count_by_presence(session)


def _store_desired(session: Session, device: Device, state: Desired, generation: int) -> None:
    """Keep `state` as the given generation and publish it after the commit."""
    payload = encode(state.model_copy(update={"generation": generation}))
    device.desired, device.desired_generation = payload.decode(), generation
    session.add(device)
    _publish_desired(session, device)


def _publish_desired(session: Session, device: Device) -> None:
    payload = (device.desired or "").encode()
    publish_after_commit(session, Topic(Kind.DESIRED, device_id=device.id), payload)


def _command_message(row: DeviceCommand) -> tuple[Topic, bytes]:
    message = Command.model_validate(
        {
            "device_id": row.device_id,
            "command_id": row.id,
            "name": row.name,
            "arguments": row.arguments,
            "expires_at": row.expires_at,
        }
    )
    return Topic(Kind.COMMANDS, device_id=row.device_id), encode(message)
