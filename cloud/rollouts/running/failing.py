"""Why a rollout has not come to every device, in words."""

from __future__ import annotations

from collections import Counter

from sqlmodel import Session

from cloud.rollouts import queries
from cloud.rollouts.models import Rollout
from cloud.rollouts.planning.ranking import outranks
from protocol.states import ExecutionState


def why_not_all(session: Session, rollout: Rollout) -> str:
    """The end that most of the devices without its build came to, of how many, and the reason
    that was given most often."""
    names = ("device_id", "attempt", "state", "reason")
    rows = sorted(queries.attempts(session, rollout.id, names))
    latest = {device_id: (state, reason) for device_id, _, state, reason in rows}
    lacking = [state for state, _ in latest.values() if state != ExecutionState.SUCCEEDED.value]
    if not lacking:
        return ""
    ((state, ended),) = Counter(lacking).most_common(1)
    of_state = {device_id: reason for device_id, (s, reason) in latest.items() if s == state}
    ((reason, _),) = Counter(of_state.values()).most_common(1)
    if state == ExecutionState.SUPERSEDED.value:
        example = next(device_id for device_id, said in of_state.items() if said == reason)
        reason = _taker(session, rollout, example) or reason
    said = f"{ended} of {len(latest)} devices {state}"
    return f"{said}: {reason}" if reason else said


def _taker(session: Session, rollout: Rollout, device_id: str) -> str:
    """Which rollout has the slot in this one's place; empty where a person has."""
    if queries.pinned_on(session, rollout.model, [device_id]):
        return ""
    states = [state.value for state in ExecutionState]
    found = queries.on_device(session, device_id, rollout.model, states)
    above = [other for _, other in found if outranks(other, rollout)]
    if not above:
        return ""
    first = max(above, key=lambda other: (other.priority, other.created_at))
    return f"rollout {first.id} ({first.name}) took the slot"
