"""What serves and should not makes way: what is revoked, and what stands in for another.

Asked at every tick, so it does not matter how it came to serve: a floor was raised, an attempt
went back, a start found nothing better then. A revoked one makes way for one that has served
here, lies whole on the disk and is not revoked itself; where there is none it goes on, for a
blind line helps nobody, and the hub hears of it. A stand-in makes way for what was committed, as
soon as that is whole again. What could not be loaded is not tried again until the floors change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from edge_agent.update.by_hand import LEFT_REVOKED, WHOLE_AGAIN, Turn
from edge_agent.update.judging import Judging
from edge_agent.update.states import UpdateRecord
from edge_agent.update.trust import below_floor
from edge_agent.update.unit import Unit
from protocol.states import BEFORE_EXCHANGE, ExecutionState

LOOK_EVERY_S = 5.0
"""How often the disk is asked for something better: a damaged bundle may be repaired."""

_COMPARED = (ExecutionState.PROVING, ExecutionState.SHADOWING)

log = structlog.get_logger(__name__)


def leavable(record: UpdateRecord | None) -> bool:
    """Whether what serves may be exchanged beside the slot's attempt: it has not exchanged
    anything yet, and compares nothing with it at this moment. Pure."""
    if record is None or record.terminal:
        return True
    return record.state in BEFORE_EXCHANGE and record.state not in _COMPARED


class MakingWay:
    """Looks after what serves in all slots. Used by the agent's thread."""

    def __init__(self, judging: Judging, alert: Callable[[str, str], None]) -> None:
        self._judging, self._alert = judging, alert
        self._told: dict[str, str] = {}
        self._tried: set[tuple[str, str]] = set()
        self._look_at: dict[str, float] = {}
        self._floors: Mapping[str, int] = {}

    def look(self, name: str, unit: Unit, now: float) -> None:
        """Tell once of a slot's bundle that is revoked, and turn to another where one may."""
        floors = self._judging.floors()
        if floors != self._floors:
            self._floors, self._tried, self._look_at = dict(floors), set(), {}
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
            self._turn(name, unit, unit.boot.turns(), Turn(LEFT_REVOKED, refused.reason))
        else:
            self._turn(name, unit, unit.boot.returned(running.digest), WHOLE_AGAIN)

    def _turn(self, name: str, unit: Unit, digests: Collection[str], turn: Turn) -> None:
        for digest in digests:
            if digest != unit.exchange.running and (name, digest) not in self._tried:
                self._tried.add((name, digest))
                unit.back.turn_to(digest, turn)
                return
