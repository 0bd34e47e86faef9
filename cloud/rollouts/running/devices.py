"""A rollout's devices as the planner sees them, from what is stored: a few hundred at once.

Reports and desired states are parsed only where the answer hangs on them: devices that wait for
a wave long before it opens, or have what they should, cost little.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

from pydantic_core import from_json
from sqlmodel import Session

from cloud.fleet import facts as fleet_facts
from cloud.fleet.facts import NO_TEXTS, Facts, Texts
from cloud.rollouts import queries
from cloud.rollouts.planning.views import DeviceView
from cloud.rollouts.queries import Latest
from cloud.rollouts.running.going_back import WayBack
from cloud.rollouts.running.looking import (
    INCONCLUSIVE,
    ONLINE,
    shadow_word,
    went_back_by_hand,
)
from protocol.builds import Capabilities
from protocol.messages import MaintenanceWindow
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

CAPABILITIES_CACHED_MAX = 4096
_STATES = {state.value: state for state in ExecutionState}
_SUCCEEDED = ExecutionState.SUCCEEDED.value
_TERMINAL = frozenset(state.value for state in TERMINAL_EXECUTION_STATES)


@dataclass(frozen=True)
class _Scene:
    """What holds for all devices of one look."""

    session: Session
    rollout_id: str
    model: str
    newer: Container[str]
    pinned: Container[str]
    befores: Mapping[str, str | None]
    way_back: WayBack | None


def look(
    session: Session,
    rollout_id: str,
    model: str,
    device_ids: Sequence[str],
    *,
    newer: Container[str],
    reverting: bool,
) -> list[DeviceView]:
    """The views of those of `device_ids` that are of the rollout.

    newer: devices that an outranking rollout has.
    reverting: say what each would go back to, and whether it may.
    """
    rows = queries.latest(session, rollout_id, device_ids)
    known = {one.id: one for one in fleet_facts.facts(session, device_ids)}
    scene = _Scene(
        session, rollout_id, model, newer,
        pinned=queries.pinned_on(session, model, device_ids),
        befores=queries.befores(session, rollout_id, device_ids) if reverting else {},
        way_back=WayBack(session) if reverting else None,
    )  # fmt: skip
    wanted = [row.device_id for row in rows if reverting or _needs_texts(row, known, model)]
    texts = fleet_facts.texts(session, wanted) if wanted else {}
    return [
        _view(scene, row, known[row.device_id], texts.get(row.device_id, NO_TEXTS)) for row in rows
    ]


def _needs_texts(row: Latest, known: Mapping[str, Facts], model: str) -> bool:
    if row.state == _SUCCEEDED:
        return _runs_other(row, known[row.device_id], model)
    return row.state not in _TERMINAL


def _runs_other(row: Latest, facts: Facts, model: str) -> bool:
    return facts.running.get(model) not in (None, row.digest)


def _view(scene: _Scene, row: Latest, facts: Facts, texts: Texts) -> DeviceView:
    device_id = intern(row.device_id)
    newer = device_id in scene.newer
    reported = _parsed(texts.reported)
    slot = {} if row.started_at is None else _own_slot(scene, texts.desired)
    owned, held = bool(slot), row.held and row.released_at is None
    running = _running_digest(scene, row, facts, reported)
    odd = running not in (None, row.digest)
    by_hand = row.by_hand or (odd and owned and not newer and _went_back(scene, row, reported))
    back, no_return = None, ""
    if scene.way_back is not None and row.started_at is not None:
        back, no_return = scene.way_back.of(scene.befores.get(device_id), device_id)
    online = facts.presence == ONLINE
    waits = row.started_at is None and row.state not in _TERMINAL
    return DeviceView(
        device_id=device_id,
        wave=row.wave,
        attempt=row.attempt,
        state=_STATES[row.state],
        started_at=row.started_at,
        step_at=row.step_at,
        ended_at=row.ended_at,
        digest=_interned(row.digest),
        owned=owned,
        newer=newer,
        pinned=device_id in scene.pinned,
        acknowledged=row.acknowledged,
        diverged=row.diverged,
        running_digest=_interned(running),
        capabilities=_capabilities(reported) if waits else None,
        site=_interned(facts.site),
        held=held,
        released=row.released_at is not None,
        vetoed=held and _slot(reported, scene.model).get("veto_until") is not None,
        window=_window(slot) if held else None,
        online=online,
        # Only of those that are away each word is a change: see the fleet's inbound.
        heard_at=None if online else facts.last_seen,
        inconclusive=_shadow(scene, row, reported) == INCONCLUSIVE,
        by_hand=by_hand,
        by_hand_marked=row.by_hand,
        reverts=row.reverts,
        return_digest=_interned(back.bundle_digest if back is not None else None),
        no_return=no_return,
    )


def _own_slot(scene: _Scene, desired: str | None) -> Mapping[str, Any]:
    """The device's desired slot, where it names the rollout."""
    if desired is None or scene.rollout_id not in desired:
        return {}
    slot = _slot(from_json(desired), scene.model)
    return slot if slot.get("rollout_id") == scene.rollout_id else {}


def _slot(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = state.get("slots", {}).get(name) or {}
    return found


def _window(slot: Mapping[str, Any]) -> MaintenanceWindow | None:
    said = slot.get("window")
    return None if said is None else MaintenanceWindow.model_validate(said)


def _running_digest(
    scene: _Scene, row: Latest, facts: Facts, reported: Mapping[str, Any]
) -> str | None:
    """What a device that had succeeded runs by a report that it made after that. Both
    times are the device's own, so its clock need not agree with the hub's."""
    if row.state != _SUCCEEDED:
        return None
    running = facts.running.get(scene.model)
    if running in (None, row.digest):
        return running
    ended_at = row.device_ended_at
    later = ended_at is not None and reported.get("reported_at", 0.0) > ended_at
    return running if later else None


def _went_back(scene: _Scene, row: Latest, reported: Mapping[str, Any]) -> bool:
    said = _slot(reported, scene.model).get("by_hand", False)
    since = row.device_ended_at or 0.0
    return bool(said) or went_back_by_hand(scene.session, row.device_id, scene.model, since)


def _shadow(scene: _Scene, row: Latest, reported: Mapping[str, Any]) -> str:
    told = _slot(reported, scene.model).get("execution") or {}
    mine = (told.get("rollout_id"), told.get("attempt")) == (scene.rollout_id, row.attempt)
    return shadow_word(row.shadow, row.state, told.get("figures", {}) if mine else {})


def _parsed(reported: str | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = {} if reported is None else from_json(reported)
    return found


def _capabilities(reported: Mapping[str, Any]) -> Capabilities | None:
    """What the device said that it can run; many devices of one kind say the same."""
    said = reported.get("capabilities")
    return None if said is None else _read_capabilities(json.dumps(said))


@lru_cache(CAPABILITIES_CACHED_MAX)
def _read_capabilities(text: str) -> Capabilities:
    return Capabilities.model_validate_json(text)


def _interned(text: str | None) -> str | None:
    return None if text is None else intern(text)
