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
    site_atomic: a site's devices of a wave are exchanged at one word, when all are prepared.
    """

    soak_s: float = 0.0
    success_percent: float = 100.0
    failed_max: int = 0
    step_timeout_s: float = 900.0
    total_timeout_s: float = 3600.0
    attempts_max: int = 3
    site_atomic: bool = False


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
    held: it was told to wait in PREPARED for its site; `released`: and then to go on.
    online: it is connected; `heard_at` is its last word of any kind.
    inconclusive: its shadow ended without a verdict, and nobody has accepted that yet.
    by_hand: somebody at the device went back from what had succeeded; `by_hand_marked`: and
        the execution says so.
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
    site: str | None = None
    held: bool = False
    released: bool = False
    online: bool = False
    heard_at: float | None = None
    inconclusive: bool = False
    by_hand: bool = False
    by_hand_marked: bool = False

    @property
    def open(self) -> bool:
        return self.state not in TERMINAL_EXECUTION_STATES

    @property
    def failed(self) -> bool:
        """Whether it failed and nobody has acknowledged that. A shadow without a verdict
        is no failure, also where time ran out over it."""
        unanswered = self.inconclusive and self.state is ExecutionState.TIMED_OUT
        return self.state in FAILURES and not self.acknowledged and not unanswered

    @property
    def counted(self) -> bool:
        """Whether a wave's gate counts it."""
        return self.state not in UNCOUNTED and (self.failed or self.state not in FAILURES)


@dataclass(frozen=True)
class StartExecution:
    """Set the device's desired slot to this build; with `hold` to wait for its site."""

    device_id: str
    attempt: int
    digest: str
    hold: bool = False


@dataclass(frozen=True)
class EndExecution:
    """End the device's attempt by the hub's own event, and withdraw what it desired."""

    device_id: str
    attempt: int
    event: ExecutionEvent
    reason: str


@dataclass(frozen=True)
class Release:
    """Give all these devices of a site the word to exchange, in one transaction."""

    site: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True)
class MarkDiverged:
    """The device runs another build than this attempt's success says."""

    device_id: str
    attempt: int
    reason: str
    by_hand: bool = False


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


Action = StartExecution | EndExecution | Release | MarkDiverged | NextWave | Pause | Finish | Stop
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
    RolloutState.RUNNING: (_endings, _divergences, _finish, _brake, _starts, _releases, _gate),
    RolloutState.PAUSED: (_endings, _finish),
    RolloutState.STOPPING: (_endings, _stop),
    RolloutState.FINISHED: (_endings, _divergences),
}
