"""What serves and should not makes way: what is revoked, and what stands in for another.

Asked at every tick, so it does not matter how it came to serve: a floor was raised, an attempt
went back, a start found nothing better then. A revoked one makes way for one that has served
here, lies whole on the disk and is not revoked itself; where there is none it goes on, for a
blind line helps nobody, and the hub hears of it. A stand-in makes way for what was committed, as
soon as that is whole again. What could not be loaded is tried again after a while, or when the
floors change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from edge_agent.update.by_hand import LEFT_REVOKED, WHOLE_AGAIN, Turn
from edge_agent.update.judging import Judging
from edge_agent.update.states import UpdateRecord
from edge_agent.update.trust import below_floor
from edge_agent.update.unit import Unit
from protocol.states import BEFORE_EXCHANGE, ExecutionState

LOOK_EVERY_S = 5.0
"""How often the disk is asked for something better: a damaged bundle may be repaired."""

TRY_AGAIN_S = 600.0
"""After what could not be loaded, beside a candidate in little memory, say."""

log = structlog.get_logger(__name__)


def leavable(record: UpdateRecord | None) -> bool:
    """Whether what serves may be exchanged beside the slot's attempt: it has not exchanged
    anything yet, and no proof measures itself by it. A shadow, which may last for an hour, begins
    its comparison anew. Pure."""
    if record is None or record.terminal:
        return True
    return record.state in BEFORE_EXCHANGE and record.state is not ExecutionState.PROVING


class MakingWay:
    """Looks after what serves in all slots. Used by the agent's thread."""

    def __init__(self, judging: Judging, alert: Callable[[str, str], None]) -> None:
        self._judging, self._alert = judging, alert
        self._told: dict[str, str] = {}
        self._try_at: dict[tuple[str, str], float] = {}
        self._look_at: dict[str, float] = {}
        self._floors: Mapping[str, int] = {}

    def look(self, name: str, unit: Unit, now: float) -> None:
        """Tell once of a slot's bundle that is revoked, and turn to another where one may."""
        floors = self._judging.floors()
        if floors != self._floors:
            self._floors, self._try_at, self._look_at = dict(floors), {}, {}
        running = unit.slot.current()
        if running is None:
            return
        manifest = running.manifest
        refused = below_floor(manifest.model, manifest.version, floors)
        if refused is not None and self._told.get(name) != running.digest:
            self._told[name], self._look_at[name] = running.digest, now
            text = f"{name}: {manifest.model} v{manifest.version} serves and is revoked"
            self._alert("revoked", text)
        busy = unit.back.under_way or not leavable(unit.updater.record)
        if busy or now < self._look_at.get(name, now):
            return
        self._look_at[name] = now + LOOK_EVERY_S
        if refused is not None:
            digests, turn = unit.boot.turns(), Turn(LEFT_REVOKED, refused.reason)
        else:
            digests, turn = unit.boot.returned(running.digest), WHOLE_AGAIN
        for digest in digests:
            if digest != running.digest and now >= self._try_at.get((name, digest), now):
                self._try_at[name, digest] = now + TRY_AGAIN_S
                unit.back.turn_to(digest, turn)
                return
