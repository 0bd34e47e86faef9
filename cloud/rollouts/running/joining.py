"""Devices that come to fit a continuous rollout: they join its last wave."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence

from sqlmodel import Session

from cloud.fleet import facts as fleet_facts
from cloud.fleet import selectors
from cloud.fleet import service as fleet
from cloud.lots import lots
from cloud.rollouts import queries
from cloud.rollouts.journal import BY_ENGINE, note
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.request.spec import RolloutSpec, spec_of
from cloud.rollouts.states import PINNED_BY, RolloutState
from protocol.states import ExecutionState

_TAKES_NOBODY = [
    state.value for state in (RolloutState.STOPPING, RolloutState.STOPPED, RolloutState.FINISHED)
]


def candidates(
    session: Session,
    model: str,
    spec: RolloutSpec,
    members: Container[str],
    among: Collection[str] | None = None,
) -> list[str]:
    """Devices that fit and are not of it yet, but for pinned ones; of `among` only, where that
    is given."""
    groups = fleet.group_selectors(session)
    fitting = fleet_facts.fitting(session, model, selectors.parse(spec.selector), groups, among)
    new = [device_id for device_id in fitting if device_id not in members]
    pinned = {i for some in lots(new) for i in queries.pinned_on(session, model, some)}
    return [device_id for device_id in new if device_id not in pinned]


def join(session: Session, rollout: Rollout, device_ids: Sequence[str], now: float) -> list[str]:
    """Take devices into the last wave; those that are of it already are left as they are.

    Returns the ones that joined.
    """
    there = set(queries.befores(session, rollout.id, device_ids))
    last = len(rollout.spec["waves"]) - 1
    joined = [device_id for device_id in device_ids if device_id not in there]
    for device_id in joined:
        session.add(
            Execution(
                rollout_id=rollout.id,
                device_id=device_id,
                attempt=1,
                wave=last,
                state=ExecutionState.QUEUED.value,
                step_at=now,
            )
        )
        note(session, rollout, "joined", by=BY_ENGINE, now=now, wave=last, device_id=device_id)
    return joined


def join_again(session: Session, rollout: Rollout, last: Execution, now: float) -> bool:
    """Let a device that a pin had kept out wait for its wave once more, where the rollout still
    takes devices and this one fits; False where it does not. A pin there must be gone."""
    spec = spec_of(rollout)
    taken_out = last.state == ExecutionState.SUPERSEDED.value and last.reason.startswith(PINNED_BY)
    if not (spec.continuous and taken_out) or rollout.state in _TAKES_NOBODY:
        return False
    if not candidates(session, rollout.model, spec, (), [last.device_id]):
        return False
    session.add(last.following(now, before=None))
    return True
