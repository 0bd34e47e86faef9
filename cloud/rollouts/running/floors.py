"""The models' floors in what devices are told.

Level-triggered: whoever raised or lowered a floor, and whenever, the desired states of devices
that have the model carry it soon, also where their slot desires nothing any more. A device with
an older word would go on loading what was revoked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic_core import from_json
from sqlmodel import Session

from cloud.fleet import facts as fleet_facts
from cloud.fleet import service as fleet
from cloud.registry import service as registry
from cloud.rollouts.running.telling import ENGINE
from protocol.messages import Desired, SlotDesired

DEVICES_AT_ONCE = 500
"""Told in one transaction, so that others may write in between."""
DEVICES_A_LOOK = 5000
"""Read at one look of the engine."""
LOOK_AGAIN_S = 600.0
"""A slot that was set by hand may carry another floor than its model, or none."""


class FloorWatch:
    """Goes through the desired states for floors, some at each look: reading them all is dear.

    It begins anew when a floor changes, and every `LOOK_AGAIN_S`.
    """

    def __init__(self) -> None:
        self.floors: Mapping[str, int] = {}
        self._after: str | None = None
        self._last: str | None = None
        self._began_at = 0.0

    def look(self, session: Session, now: float) -> list[str]:
        """Of the next devices those that were told another floor than a model has."""
        floors = registry.floors(session)
        if floors != self.floors or not 0 <= now - self._began_at < LOOK_AGAIN_S:
            self.floors, self._after, self._began_at = floors, "", now
        if self._after is None:
            return []
        page = fleet_facts.desired_after(session, self._after, DEVICES_A_LOOK)
        self._last = page[-1][0] if len(page) == DEVICES_A_LOOK else None
        return [device_id for device_id, desired in page if _differs(desired, floors)]

    def told(self) -> None:
        """The devices of the last look carry `floors` now."""
        self._after = self._last


def spread(session: Session, device_ids: Sequence[str], floors: Mapping[str, int]) -> None:
    """Let the desired states of these devices carry their models' floors."""
    for device in fleet_facts.rows(session, device_ids).values():
        desired = fleet.desired(device)
        if desired is None:
            continue
        slots = _stale(desired, floors)
        others = {model: floors.get(model, known) for model, known in desired.floors.items()}
        if slots or others != desired.floors:
            fleet.change_desired(session, ENGINE, device.id, slots=slots, floors=others, known=True)


def _differs(desired: str | None, floors: Mapping[str, int]) -> bool:
    state = from_json(desired) if desired else {}
    said = [(s["model"], s["floor"]) for s in state.get("slots", {}).values() if "floor" in s]
    said += state.get("floors", {}).items()
    return any(floor != floors.get(model, floor) for model, floor in said)


def _stale(desired: Desired, floors: Mapping[str, int]) -> dict[str, SlotDesired]:
    return {
        name: slot.model_copy(update={"floor": floors[slot.model]})
        for name, slot in desired.slots.items()
        if slot.floor != floors.get(slot.model, slot.floor)
    }
