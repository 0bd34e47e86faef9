"""Which attempts the hub ends by itself: those that are no longer wanted, and those that have
taken too long. Pure."""

from __future__ import annotations

from collections.abc import Container

from cloud.rollouts.planning.tally import Tally, servable_digests
from cloud.rollouts.planning.views import Action, DeviceView, EndExecution, RolloutView
from cloud.rollouts.states import RolloutState
from protocol.states import BEFORE_EXCHANGE, ExecutionEvent, ExecutionState

_LONG = (
    *(ExecutionState.DOWNLOADING, ExecutionState.BUILDING),
    *(ExecutionState.SHADOWING, ExecutionState.WAITING_WINDOW, ExecutionState.PREPARED),
)
"""Where a device works for as long as its own limits allow, or waits for what is not its own work,
however long that takes."""


def endings(rollout: RolloutView, tally: Tally, now: float) -> list[Action]:
    """An end for every attempt that is not to go on."""
    standing = servable_digests(rollout)
    return [end for device in tally.opened if (end := _ending(rollout, device, standing, now))]


def _ending(
    rollout: RolloutView, device: DeviceView, standing: Container[str], now: float
) -> EndExecution | None:
    cause = _retraction(rollout, device, standing) or _expiry(rollout, device, now)
    return EndExecution(device.device_id, device.attempt, *cause) if cause else None


def _retraction(
    rollout: RolloutView, device: DeviceView, standing: Container[str]
) -> tuple[ExecutionEvent, str] | None:
    """Why the attempt is no longer wanted. After the exchange it is let go to its end, and
    so it is after the word to a whole site, of which others have exchanged already."""
    if device.state not in BEFORE_EXCHANGE:
        return None
    stopping = rollout.state is RolloutState.STOPPING
    if stopping and not device.released and not device.reverts:
        return ExecutionEvent.CANCEL_REQUESTED, rollout.stopped_by
    if device.digest is not None and device.digest not in standing and not device.reverts:
        return ExecutionEvent.CANCEL_REQUESTED, "its build was revoked or rejected meanwhile"
    taken = _taken(device)
    return (ExecutionEvent.NEWER_DESIRED, taken) if taken else None


def _taken(device: DeviceView) -> str:
    """Who has the device's slot in this rollout's place, in words; empty where nobody has."""
    if device.pinned:
        return "a person has pinned the slot to a build"
    if device.newer and not device.reverts:
        return "another rollout takes the slot"
    started = device.started_at is not None
    return "the slot's desired build was changed" if started and not device.owned else ""


def _expiry(
    rollout: RolloutView, device: DeviceView, now: float
) -> tuple[ExecutionEvent, str] | None:
    if device.started_at is None or not _has_listened(rollout, now):
        return None
    policy = rollout.policy
    quiet_since = _quiet_since(device)
    if quiet_since is not None and now - quiet_since > policy.step_timeout_s:
        word = "word" if device.state in _LONG else "step"
        silence = f"no {word} after {device.state.value} for {policy.step_timeout_s:g} s"
        return ExecutionEvent.TIMER_EXPIRED, silence
    if now - device.started_at > policy.total_timeout_s:
        late = f"not done after {policy.total_timeout_s:g} s"
        if device.inconclusive and device.state is ExecutionState.SHADOWING:
            return ExecutionEvent.CANCEL_REQUESTED, f"{late}: nobody accepted its shadow"
        return ExecutionEvent.TIMER_EXPIRED, late
    return None


def _has_listened(rollout: RolloutView, now: float) -> bool:
    """Whether the hub has heard long enough to call a device silent. After a stop, or a loss of its
    link, the words of all that went on meanwhile are yet to come."""
    since = rollout.heard_since
    return since is not None and now - since > rollout.policy.step_timeout_s


def _quiet_since(device: DeviceView) -> float | None:
    """From when on the step timer counts; None where only the total timer does.

    A device that waits, downloads or compiles makes no step for long and is not to blame for it:
    it is lost when it is away.
    One that was given the word belongs to a site that has exchanged, and keeps what time
    there is to come back and follow.
    """
    if device.released:
        return None
    if device.state not in _LONG:
        return device.step_at
    return None if device.online else max(device.step_at, device.heard_at or 0.0)
