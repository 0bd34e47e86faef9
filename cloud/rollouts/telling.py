"""What a rollout makes of a device's desired state.

Every verb here sets one slot through the fleet slice, which publishes a new generation
after the commit, and none where nothing changed: so each may be repeated.
"""

from __future__ import annotations

from sqlmodel import Session

from cloud.access.principal import Principal, service_principal
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.spec import RolloutSpec, spec_of
from protocol.messages import MaintenanceWindow, ShadowPolicy, SlotDesired

ENGINE = service_principal("rollouts")


def desired_of(rollout: Rollout, device: Device) -> SlotDesired | None:
    """What the rollout made the device's desired slot, while it still stands."""
    slot = _slot(rollout, device)
    return slot if slot is not None and slot.rollout_id == rollout.id else None


def stands(session: Session, rollout: Rollout, row: Execution) -> bool:
    """Whether the execution's device is still to run this rollout's build.

    Where it says CANCELED then, somebody there gave the attempt up. To desire what was before
    would overrule that person; this attempt is not taken up again.
    """
    return desired_of(rollout, fleet.get_device(session, ENGINE, row.device_id)) is not None


def slot_before(session: Session, rollout: Rollout, device_id: str) -> str | None:
    """The slot's desired state before the rollout, as JSON text."""
    slot = _slot(rollout, fleet.get_device(session, ENGINE, device_id))
    return slot.model_dump_json() if slot else None


def bring(session: Session, rollout: Rollout, row: Execution, digest: str) -> None:
    """Desire the build `digest` on the execution's device, with the rollout's policies."""
    device = fleet.get_device(session, ENGINE, row.device_id)
    build = next(b for b in rollout.builds if b["digest"] == digest)
    spec = spec_of(rollout)
    wanted = SlotDesired(
        bundle_digest=digest,
        manifest_bytes=build["manifest_bytes"],
        model=rollout.model,
        version=rollout.version,
        rollout_id=rollout.id,
        attempt=row.attempt,
        probation_s=spec.probation_s,
        hold=row.held,
        shadow=ShadowPolicy.model_validate(spec.shadow.model_dump()) if spec.shadow else None,
        window=_window(session, spec, device),
        timeout_s=spec.timeout_s,
    )
    _tell(session, ENGINE, rollout, device, wanted)


def release(session: Session, rollout: Rollout, row: Execution) -> bool:
    """Take the hold away; False where the slot does not desire this rollout any more."""
    device = fleet.get_device(session, ENGINE, row.device_id)
    standing = desired_of(rollout, device)
    if standing is None:
        return False
    _tell(session, ENGINE, rollout, device, standing.model_copy(update={"hold": False}))
    return True


def accept_shadow(session: Session, principal: Principal, rollout: Rollout, row: Execution) -> bool:
    """Let the device go on without a verdict; False where it is not asked for one any more."""
    device = fleet.get_device(session, principal, row.device_id)
    standing = desired_of(rollout, device)
    if standing is None or standing.shadow is None:
        return False
    accepted = standing.shadow.model_copy(update={"accepted": True})
    _tell(session, principal, rollout, device, standing.model_copy(update={"shadow": accepted}))
    return True


def withdraw(session: Session, rollout: Rollout, row: Execution) -> None:
    """Where the slot still desires this rollout, desire again what it did before.

    So a device that comes back late does not install what was given up meanwhile, and a
    desired state never names a build that failed there. What was before has served: it is
    not held, and not compared, a second time.
    """
    device = fleet.get_device(session, ENGINE, row.device_id)
    if desired_of(rollout, device) is None:
        return
    before = SlotDesired.model_validate_json(row.before) if row.before else None
    if before is not None:
        before = before.model_copy(update={"hold": False, "shadow": None})
    _tell(session, ENGINE, rollout, device, before)


def _tell(
    session: Session,
    principal: Principal,
    rollout: Rollout,
    device: Device,
    wanted: SlotDesired | None,
) -> None:
    """Set the rollout's slot, with the floor as it is now."""
    if wanted is not None:
        floor = registry.floor(session, wanted.model)
        wanted = wanted.model_copy(update={"floor": floor})
    fleet.set_slot(session, principal, device.id, rollout.model, wanted)


def _slot(rollout: Rollout, device: Device) -> SlotDesired | None:
    desired = fleet.desired(device)
    return desired.slots.get(rollout.model) if desired else None


def _window(session: Session, spec: RolloutSpec, device: Device) -> MaintenanceWindow | None:
    """The rollout's window, on the clock of the device's site where it names none."""
    if spec.window is None:
        return None
    own = {"time_zone": fleet.time_zone(session, device)}
    return MaintenanceWindow.model_validate(own | spec.window.model_dump(exclude_none=True))
