"""What follows for a rollout from what is known now. Pure.

`plan` is asked again and again; it answers with the next step only, and once the
answer is carried out it gives another one or none. So a plan that is carried out twice,
or computed twice from the same state, changes nothing more than once: every action
names the device and the attempt that it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud.registry.resolution import BuildOffer, resolve, resolve_unheard
from cloud.rollouts.states import FAILURES, UNCOUNTED, Outcome, RolloutState
from protocol.builds import Capabilities
from protocol.states import (
    BEFORE_EXCHANGE,
    TERMINAL_EXECUTION_STATES,
    ExecutionEvent,
    ExecutionState,
)


@dataclass(frozen=True)
class Policy:
    """A rollout's gates and timers.

    success_percent: of a wave's counted devices, for the next wave to start.
    failed_max: failures that are tolerated; one more pauses.
    attempts_max: attempts for a device that diverges again and again.
    """

    soak_s: float = 0.0
    success_percent: float = 100.0
    failed_max: int = 0
    step_timeout_s: float = 900.0
    total_timeout_s: float = 3600.0
    attempts_max: int = 3


@dataclass(frozen=True)
class RolloutView:
    """The rollout as the planner sees it; `wave` counts from 0, `builds` are the ones that it
    may give out, in any order."""

    state: RolloutState
    wave: int
    waves: int
    builds: tuple[BuildOffer, ...]
    policy: Policy


@dataclass(frozen=True)
class DeviceView:
    """A device's latest execution in this rollout, and what the fleet knows of it.

    Times are the hub's, in Unix seconds. `started_at` is None until its wave starts.
    digest: the build that this execution brings; None until it starts.
    owned: the device's desired slot names this rollout.
    newer: a newer rollout for the same slot targets the device.
    running_digest: what a report made after the execution's end says that it runs.
    """

    device_id: str
    wave: int
    attempt: int
    state: ExecutionState
    started_at: float | None = None
    step_at: float = 0.0
    ended_at: float | None = None
    digest: str | None = None
    owned: bool = False
    newer: bool = False
    acknowledged: bool = False
    diverged: bool = False
    running_digest: str | None = None
    capabilities: Capabilities | None = None

    @property
    def open(self) -> bool:
        return self.state not in TERMINAL_EXECUTION_STATES

    @property
    def failed(self) -> bool:
        """Whether it failed and nobody has acknowledged that."""
        return self.state in FAILURES and not self.acknowledged

    @property
    def counted(self) -> bool:
        """Whether a wave's gate counts it."""
        return self.state not in UNCOUNTED and (self.failed or self.state not in FAILURES)


@dataclass(frozen=True)
class StartExecution:
    """Set the device's desired slot to this build."""

    device_id: str
    attempt: int
    digest: str


@dataclass(frozen=True)
class EndExecution:
    """End the device's attempt by the hub's own event, and withdraw what it desired."""

    device_id: str
    attempt: int
    event: ExecutionEvent
    reason: str


@dataclass(frozen=True)
class MarkDiverged:
    """The device runs another build than this attempt's success says."""

    device_id: str
    attempt: int
    reason: str


@dataclass(frozen=True)
class NextWave:
    wave: int


@dataclass(frozen=True)
class Pause:
    reason: str


@dataclass(frozen=True)
class Finish:
    outcome: Outcome


@dataclass(frozen=True)
class Stop:
    """Everything that was open when the rollout was cancelled has ended."""


Action = StartExecution | EndExecution | MarkDiverged | NextWave | Pause | Finish | Stop
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
    """Why the attempt is no longer wanted; after the exchange it is let go to its end."""
    if device.state not in BEFORE_EXCHANGE:
        return None
    if rollout.state is RolloutState.STOPPING:
        return ExecutionEvent.CANCEL_REQUESTED, "the rollout was cancelled"
    if device.newer:
        return ExecutionEvent.NEWER_DESIRED, "a newer rollout takes the slot"
    if device.started_at is not None and not device.owned:
        return ExecutionEvent.NEWER_DESIRED, "the slot's desired build was changed"
    return None


def _expiry(policy: Policy, device: DeviceView, now: float) -> tuple[ExecutionEvent, str] | None:
    if device.started_at is None:
        return None
    if now - device.step_at > policy.step_timeout_s:
        silence = f"no step after {device.state.value} for {policy.step_timeout_s:g} s"
        return ExecutionEvent.TIMER_EXPIRED, silence
    if now - device.started_at > policy.total_timeout_s:
        return ExecutionEvent.TIMER_EXPIRED, f"not done after {policy.total_timeout_s:g} s"
    return None


def _divergences(rollout: RolloutView, devices: Devices, _now: float) -> list[Action]:
    actions: list[Action] = []
    for device in devices:
        if not _diverges(device) or device.digest is None:
            continue
        again = device.attempt < rollout.policy.attempts_max
        if not device.diverged:
            reason = f"runs {device.running_digest}, not what it had committed"
            actions.append(MarkDiverged(device.device_id, device.attempt, reason))
        if again:
            actions.append(StartExecution(device.device_id, device.attempt + 1, device.digest))
    return actions


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
    if failed <= rollout.policy.failed_max:
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
        return StartExecution(device.device_id, device.attempt, found.best)
    return EndExecution(device.device_id, device.attempt, ExecutionEvent.NOTHING_FITS, found.reason)


def _gate(rollout: RolloutView, devices: Devices, now: float) -> list[Action]:
    wave = [device for device in devices if device.wave == rollout.wave]
    counted = [device for device in wave if device.counted]
    succeeded = [device for device in counted if device.state is ExecutionState.SUCCEEDED]
    asked = rollout.policy.success_percent
    if len(succeeded) * 100 < asked * len(counted):
        if any(device.open for device in wave):
            return []
        percent = 100 * len(succeeded) / len(counted)
        reason = f"wave {rollout.wave + 1}: {percent:.0f} % of {len(counted)} devices succeeded"
        return [Pause(f"{reason}; {asked:g} % are asked")]
    if rollout.wave + 1 >= rollout.waves:
        return []
    soaked_at = max((device.ended_at or 0.0 for device in succeeded), default=0.0)
    soaked_at += rollout.policy.soak_s
    return [NextWave(rollout.wave + 1)] if now >= soaked_at else []


_Stage = Callable[[RolloutView, Devices, float], list[Action]]

_STAGES: dict[RolloutState, tuple[_Stage, ...]] = {
    RolloutState.RUNNING: (_endings, _divergences, _finish, _brake, _starts, _gate),
    RolloutState.PAUSED: (_endings, _finish),
    RolloutState.STOPPING: (_endings, _stop),
    RolloutState.FINISHED: (_endings, _divergences),
}
