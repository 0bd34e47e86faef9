"""What follows for a rollout from what is known now. Pure.

`plan` is asked again and again; it answers with the next step only, and once the
answer is carried out it gives another one or none. So a plan that is carried out twice,
or computed twice from the same state, changes nothing more than once: every action
names the device and the attempt that it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloud.registry.resolution import resolve, resolve_unheard
from cloud.rollouts.states import Outcome, RolloutState
from cloud.rollouts.views import (
    Action,
    DeviceView,
    EndExecution,
    Finish,
    MarkDiverged,
    NextWave,
    Pause,
    Policy,
    Release,
    RolloutView,
    StartExecution,
    Stop,
)
from protocol.states import BEFORE_EXCHANGE, ExecutionEvent, ExecutionState

Devices = Sequence[DeviceView]


def plan(rollout: RolloutView, devices: Devices, now: float) -> list[Action]:
    """The next actions, of one kind; none where the rollout has to wait.

    `devices` holds one view per device, that of its latest attempt.
    """
    for stage in _STAGES.get(rollout.state, ()):
        if actions := stage(rollout, devices, now):
            return actions
    return []


def _endings(rollout: RolloutView, devices: Devices, now: float) -> list[Action]:
    return [end for device in devices if device.open and (end := _ending(rollout, device, now))]


def _ending(rollout: RolloutView, device: DeviceView, now: float) -> EndExecution | None:
    cause = _retraction(rollout, device) or _expiry(rollout.policy, device, now)
    return EndExecution(device.device_id, device.attempt, *cause) if cause else None


def _retraction(rollout: RolloutView, device: DeviceView) -> tuple[ExecutionEvent, str] | None:
    """Why the attempt is no longer wanted. After the exchange it is let go to its end, and
    so it is after the word to a whole site, of which others have exchanged already."""
    if device.state not in BEFORE_EXCHANGE:
        return None
    if rollout.state is RolloutState.STOPPING and not device.released:
        return ExecutionEvent.CANCEL_REQUESTED, "the rollout was cancelled"
    if device.newer:
        return ExecutionEvent.NEWER_DESIRED, "a newer rollout takes the slot"
    if device.started_at is not None and not device.owned:
        return ExecutionEvent.NEWER_DESIRED, "the slot's desired build was changed"
    return None


def _expiry(policy: Policy, device: DeviceView, now: float) -> tuple[ExecutionEvent, str] | None:
    if device.started_at is None:
        return None
    quiet_since = _quiet_since(device)
    if quiet_since is not None and now - quiet_since > policy.step_timeout_s:
        word = "word" if device.state in _WAITING else "step"
        silence = f"no {word} after {device.state.value} for {policy.step_timeout_s:g} s"
        return ExecutionEvent.TIMER_EXPIRED, silence
    if now - device.started_at > policy.total_timeout_s:
        late = f"not done after {policy.total_timeout_s:g} s"
        if device.inconclusive and device.state is ExecutionState.SHADOWING:
            return ExecutionEvent.CANCEL_REQUESTED, f"{late}: nobody accepted its shadow"
        return ExecutionEvent.TIMER_EXPIRED, late
    return None


_WAITING = frozenset(
    {ExecutionState.SHADOWING, ExecutionState.WAITING_WINDOW, ExecutionState.PREPARED}
)
"""Where a device waits for something that is not its own work, however long that takes."""


def _quiet_since(device: DeviceView) -> float | None:
    """From when on the step timer counts; None where only the total timer does.

    A device that waits makes no step and is not to blame for it: it is lost when it is away.
    One that was given the word belongs to a site that has exchanged, and keeps what time
    there is to come back and follow.
    """
    if device.released:
        return None
    if device.state not in _WAITING:
        return device.step_at
    return None if device.online else max(device.step_at, device.heard_at or 0.0)


DIVERGED_GRACE_S = 30.0
"""A report says what runs, an alert says why, and they come by different streams."""


def _divergences(rollout: RolloutView, devices: Devices, now: float) -> list[Action]:
    actions: list[Action] = []
    for device in devices:
        if not _diverges(device) or device.digest is None:
            continue
        # Who went back at the device had a reason that nobody here knows: only a new rollout
        # says something newer than that person.
        again = device.attempt < rollout.policy.attempts_max and not device.by_hand
        if not device.diverged or (device.by_hand and not device.by_hand_marked):
            actions.append(_marked(device))
        elif again and now - device.step_at >= DIVERGED_GRACE_S:
            actions.append(StartExecution(device.device_id, device.attempt + 1, device.digest))
    return actions


def _marked(device: DeviceView) -> MarkDiverged:
    cause = "somebody at the device went back" if device.by_hand else "not what it had committed"
    reason = f"runs {device.running_digest}, {cause}"
    return MarkDiverged(device.device_id, device.attempt, reason, by_hand=device.by_hand)


def _diverges(device: DeviceView) -> bool:
    return (
        device.state is ExecutionState.SUCCEEDED
        and device.owned
        and not device.newer
        and device.running_digest is not None
        and device.running_digest != device.digest
    )


def _finish(_rollout: RolloutView, devices: Devices, _now: float) -> list[Action]:
    if any(device.open for device in devices):
        return []
    succeeded = sum(device.state is ExecutionState.SUCCEEDED for device in devices)
    if succeeded == len(devices):
        return [Finish(Outcome.SUCCEEDED)]
    return [Finish(Outcome.PARTIAL if succeeded else Outcome.FAILED)]


def _stop(_rollout: RolloutView, devices: Devices, _now: float) -> list[Action]:
    return [] if any(device.open for device in devices) else [Stop()]


def _brake(rollout: RolloutView, devices: Devices, _now: float) -> list[Action]:
    failed = sum(device.failed for device in devices)
    if rollout.policy.failed_max is None or failed <= rollout.policy.failed_max:
        return []
    return [Pause(f"{failed} devices failed; {rollout.policy.failed_max} are tolerated")]


def _starts(rollout: RolloutView, devices: Devices, _now: float) -> list[Action]:
    return [
        _start(rollout, device)
        for device in devices
        if device.open and device.started_at is None and device.wave <= rollout.wave
    ]


def _start(rollout: RolloutView, device: DeviceView) -> Action:
    """Start with the best build for the device. One that never said what it can run gets
    the build that asks least, and judges for itself."""
    if device.capabilities is None:
        found = resolve_unheard(rollout.builds)
    else:
        found = resolve(rollout.builds, device.capabilities)
    if found.best is not None:
        hold = rollout.policy.site_atomic and device.site is not None
        return StartExecution(device.device_id, device.attempt, found.best, hold)
    return EndExecution(device.device_id, device.attempt, ExecutionEvent.NOTHING_FITS, found.reason)


def _releases(rollout: RolloutView, devices: Devices, _now: float) -> list[Action]:
    """The word to each site of which every open device is prepared and there to hear it.

    Failures of a site do not hold it up: where they are more than is tolerated, the brake
    has paused the rollout before this is asked.
    """
    if not rollout.policy.site_atomic:
        return []
    sites: dict[tuple[str, int], list[DeviceView]] = {}
    for device in devices:
        if device.open and device.site is not None:
            sites.setdefault((device.site, device.wave), []).append(device)
    return [
        Release(site, tuple(device.device_id for device in there if device.held))
        for (site, _), there in sites.items()
        if any(device.held for device in there) and not any(map(_holds_up, there))
    ]


def _holds_up(device: DeviceView) -> bool:
    """Whether the device's site has to wait for it."""
    prepared = device.state is ExecutionState.PREPARED
    if device.held:
        return not (prepared and device.online)
    return device.state in BEFORE_EXCHANGE and not prepared and device.attempt == 1


def _gate(rollout: RolloutView, devices: Devices, now: float) -> list[Action]:
    wave = [device for device in devices if device.wave == rollout.wave]
    counted = [device for device in wave if device.counted]
    succeeded = [device for device in counted if device.state is ExecutionState.SUCCEEDED]
    asked = rollout.policy.waves[rollout.wave].success_percent
    if len(succeeded) * 100 < asked * len(counted):
        if any(device.open for device in wave):
            return []
        percent = 100 * len(succeeded) / len(counted)
        reason = f"wave {rollout.wave + 1}: {percent:.0f} % of {len(counted)} devices succeeded"
        return [Pause(f"{reason}; {asked:g} % are asked")]
    if rollout.wave + 1 >= rollout.waves:
        return []
    soaked_at = max((device.ended_at or 0.0 for device in succeeded), default=0.0)
    soaked_at += rollout.policy.waves[rollout.wave].soak_s
    return [NextWave(rollout.wave + 1)] if now >= soaked_at else []


_Stage = Callable[[RolloutView, Devices, float], list[Action]]

_STAGES: dict[RolloutState, tuple[_Stage, ...]] = {
    RolloutState.RUNNING: (_endings, _divergences, _finish, _brake, _starts, _releases, _gate),
    RolloutState.PAUSED: (_endings, _finish),
    RolloutState.STOPPING: (_endings, _stop),
    RolloutState.FINISHED: (_endings, _divergences),
}
