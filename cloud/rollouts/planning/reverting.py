"""Taking a rollout back: every device that got the build gets what it had before. Pure.

The ramp of the pace does not hold here, for the build that is out there is not wanted; what a
person set as the most does: devices in flight, and starts a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloud.rollouts.planning.starting import Room, may_start_again
from cloud.rollouts.planning.tally import Tally
from cloud.rollouts.planning.views import (
    Action,
    DeviceView,
    NoWayBack,
    RolloutView,
    StartExecution,
    Stop,
)
from protocol.states import ExecutionState

_NOT_LEFT = (ExecutionState.SUCCEEDED, ExecutionState.SUPERSEDED)
"""How an attempt to go back ends that leaves nothing of this rollout behind."""


def reverts(
    rollout: RolloutView, devices: Sequence[DeviceView], tally: Tally, now: float
) -> list[Action]:
    """A further attempt with what was before, for each device that has the build; where that may
    not serve again, one that says so."""
    if not rollout.reverting:
        return []
    policy = rollout.policy
    room = Room(policy, tally, now, at_once=True)
    actions: list[Action] = []
    for device in devices:
        if not room.is_left():
            break
        if not _is_left(device) or not may_start_again(policy, device, now):
            continue
        digest, attempt = _return_digest(device), device.attempt + 1
        if digest is None:
            actions.append(NoWayBack(device.device_id, attempt, device.no_return))
        else:
            actions.append(StartExecution(device.device_id, attempt, digest, reverts=True))
            room.take()
    return actions


def stop(rollout: RolloutView, devices: Sequence[DeviceView], tally: Tally) -> list[Action]:
    """The end, once nothing is under way and nothing is left to bring back."""
    if tally.open:
        return []
    if not rollout.reverting:
        return [Stop(left=sum(d.state is ExecutionState.SUCCEEDED for d in devices))]
    reverted = left = 0
    for device in devices:
        if _is_left(device):
            return []
        reverted += device.reverts and device.state is ExecutionState.SUCCEEDED
        left += device.state not in _NOT_LEFT if device.reverts else _has_build(device)
    return [Stop(reverted, left)]


def _is_left(device: DeviceView) -> bool:
    """Whether a device is yet to go back, or to say why it does not. Where somebody gave the
    attempt up there is nothing to say: what was before runs."""
    gave_up = device.state is ExecutionState.CANCELED
    return _has_build(device) and not (gave_up and _return_digest(device) is None)


def _return_digest(device: DeviceView) -> str | None:
    """The build that a device may go back to."""
    return None if device.no_return else device.return_digest


def _has_build(device: DeviceView) -> bool:
    """Whether the rollout's build is still what a device is to run. That holds too for one that
    was lost after the word to its site and follows when it comes back, and for one that a newer
    rollout outranks and has not come to yet."""
    given = device.started_at is not None and not device.open and not device.reverts
    return given and device.owned and not device.pinned
