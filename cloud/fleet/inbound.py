"""What devices say of themselves: presence, reports, answers. Handlers of the ingress.

A device counts as changed only where its word changes something that a rollout looks at: most
reports say what the last one said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import from_json
from sqlmodel import Session

from cloud.fleet import facts, service
from cloud.fleet.models import Device, DeviceCommand
from cloud.inbound import Received, Tally
from cloud.lots import lots
from protocol.messages import Presence, Reported, SlotReported, encode

ONLINE, OFFLINE = "online", "offline"
OnReport = Callable[[Session, Device, Reported, float], None]
"""Told of a report, and of the hub's time, in the transaction that stores it."""


def store_presences(session: Session, batch: Sequence[Received]) -> Tally:
    """Take devices' word on their presence, but for sessions that a newer one replaced."""
    tally: Tally = Counter()
    changed = set()
    devices = _devices(session, batch)
    for received in batch:
        device = devices.get(received.topic.device_id)
        fresh = device is not None and _speaks_for(device, received.message)
        if device is not None and fresh:
            before, device.presence = device.presence, received.message.status
            # When one that is away was last heard of is the beginning of its silence.
            if (before, device.presence) != (ONLINE, ONLINE):
                changed.add(device.id)
            _heard(session, device, received)
        tally["stored" if fresh else "refused.older_session"] += 1
    service.touch(session, changed)
    return tally


def store_reports(
    session: Session, batch: Sequence[Received], *, on_other: Sequence[OnReport] = ()
) -> Tally:
    """Keep each device's last report, but for sessions that a newer one replaced, and tell
    `on_other` of those that run something else than they should: few, of a fleet."""
    tally: Tally = Counter()
    changed = set()
    devices = _devices(session, batch)
    for received in batch:
        message: Reported = received.message
        device = devices.get(received.topic.device_id)
        if device is None or message.session_epoch < device.session_epoch:
            tally["refused.older_session"] += 1
            continue
        payload = received.payload.decode()
        other = _says_other(device.reported, payload)
        device.reported = payload
        device.running = {
            name: slot.running_digest
            for name, slot in message.slots.items()
            if slot.running_digest is not None
        }
        # When one that is away was last heard of is the beginning of its silence.
        runs_other = _runs_other(device)
        if other or device.presence != ONLINE or runs_other:
            changed.add(device.id)
        service.keep_in_step(session, device, message.desired_generation)
        _heard(session, device, received)
        for tell in on_other if runs_other else ():
            tell(session, device, message, received.at)
        tally["stored"] += 1
    service.touch(session, changed)
    return tally


def note_running(
    session: Session, device: Device, slot: str, now: SlotReported, *, instead_of: str
) -> None:
    """Take a device's word that a slot runs something else into its last report, where that still
    says `instead_of`: the next report may be half a minute away."""
    said = service.reported(device)
    known = None if said is None else said.slots.get(slot)
    if said is None or known is None or known.running_digest != instead_of:
        return
    changes = {name: getattr(now, name) for name in ("running_digest", "version", "by_hand")}
    slots = {**said.slots, slot: known.model_copy(update=changes)}
    device.reported = encode(said.model_copy(update={"slots": slots})).decode()
    device.running = {**device.running, slot: str(now.running_digest)}
    session.add(device)
    service.touch(session, [device.id])


def store_responses(session: Session, batch: Sequence[Received]) -> Tally:
    """Keep the first answer to each command; nobody asked for the others."""
    tally: Tally = Counter()
    for received in batch:
        message = received.message
        row = session.get(DeviceCommand, message.command_id)
        if row is None or row.device_id != message.device_id:
            tally["refused.unknown_command"] += 1
        elif row.answered_at is not None:
            tally["duplicates"] += 1
        else:
            row.answered_at, row.ok, row.text = received.at, message.ok, message.text
            session.add(row)
            tally["stored"] += 1
    return tally


def _speaks_for(device: Device, message: Presence) -> bool:
    """Whether a presence may replace what is known.

    A will is sent when the broker notices the loss, which may be after the device came back
    with a higher session epoch; and it is the last word of its own session.
    """
    if message.session_epoch != device.session_epoch:
        return message.session_epoch > device.session_epoch
    return device.presence != OFFLINE or message.status == OFFLINE


def _says_other(before: str | None, now: str) -> bool:
    """Whether two reports differ in what the device can run, runs, or has measured, and in
    whether its line says "not now"."""
    return before is None or _substance(before) != _substance(now)


def _runs_other(device: Device) -> bool:
    """Whether a slot runs something else than is desired there. Each such report counts: what one
    says that was made before an execution ended, the next one may say again, and mean it."""
    desired = device.desired or ""
    return any(
        digest not in desired and f'"{slot}":' in desired for slot, digest in device.running.items()
    )


def _substance(payload: str) -> tuple[Any, dict[str, Any]]:
    report = from_json(payload)
    return report["capabilities"], {
        name: (
            slot.get("running_digest"),
            slot.get("by_hand", False),
            slot.get("veto_until") is not None,
            (slot.get("execution") or {}).get("figures"),
        )
        for name, slot in report.get("slots", {}).items()
    }


def _devices(session: Session, batch: Sequence[Received]) -> dict[str, Device]:
    """The rows of all devices of a batch: one by one each would be a statement, and before it
    one that writes the row of the one before."""
    found: dict[str, Device] = {}
    for some in lots({received.topic.device_id for received in batch}):
        found.update(facts.rows(session, some))
    return found


def _heard(session: Session, device: Device, received: Received) -> None:
    if device.boot_id != received.message.boot_id:
        device.boot_id, device.boots = received.message.boot_id, device.boots + 1
    device.session_epoch = received.message.session_epoch
    device.last_seen = received.at
    session.add(device)
