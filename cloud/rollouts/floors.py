"""The models' floors in what devices are told.

Level-triggered: whoever raised or lowered a floor, and whenever, the desired slots of the
model carry it soon. A device with an older word would go on loading what was revoked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlmodel import Session

from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.registry import service as registry
from cloud.rollouts.telling import ENGINE
from protocol.messages import SlotDesired

DEVICES_AT_ONCE = 500
"""In one transaction, so that others may write in between."""
LOOK_AGAIN_S = 600.0
"""A slot that was set by hand may carry another floor than its model, or none."""


class FloorWatch:
    """When desired states have to be looked through for floors: reading them all is dear."""

    def __init__(self) -> None:
        self._told: dict[str, int] | None = None
        self._looked_at = 0.0

    def asks(self, session: Session, now: float) -> dict[str, int] | None:
        """The floors, where a look is due; None where all is as at the last one."""
        floors = registry.floors(session)
        again = not 0 <= now - self._looked_at < LOOK_AGAIN_S
        return floors if again or floors != self._told else None

    def looked(self, floors: Mapping[str, int], now: float) -> None:
        """All desired states carry `floors` now."""
        self._told, self._looked_at = dict(floors), now


def stale_devices(session: Session, floors: Mapping[str, int]) -> list[str]:
    """Devices with a desired slot whose floor is not its model's."""
    return [d.id for d in fleet.list_devices(session, ENGINE) if _stale(d, floors)]


def spread(session: Session, device_ids: Sequence[str], floors: Mapping[str, int]) -> None:
    """Let the desired slots of these devices carry their models' floors."""
    for device_id in device_ids:
        stale = _stale(fleet.get_device(session, ENGINE, device_id), floors)
        if stale:
            fleet.change_desired(session, ENGINE, device_id, slots=stale)


def _stale(device: Device, floors: Mapping[str, int]) -> dict[str, SlotDesired]:
    desired = fleet.desired(device)
    return {
        name: slot.model_copy(update={"floor": floors[slot.model]})
        for name, slot in (desired.slots.items() if desired else ())
        if slot.floor != floors.get(slot.model, slot.floor)
    }
