"""One look over all devices of a rollout, from which every stage of the planner takes what it
needs. Pure.

With a fleet of 100,000 this loop is what a plan costs. The two kinds of devices that are nearly
all of them, those that wait for their wave and those that have the build, take the short ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cloud.rollouts.planning.pace import memory_s
from cloud.rollouts.planning.views import DeviceView, Policy, RolloutView
from cloud.rollouts.states import RolloutState
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState

DIVERGED = "DIVERGED"
"""Told beside the terminal states where ends are counted by kind."""
_RETRIED_IN = (RolloutState.RUNNING, RolloutState.PAUSED)


@dataclass(slots=True)
class WaveTally:
    """A wave's devices.

    Attributes:
        counted: those that its success is a share of; `succeeded`: that share.
        unfinished: those that may yet move: not ended, or to be tried again.
        succeeded_at: when the last of them succeeded.
    """

    counted: int = 0
    succeeded: int = 0
    unfinished: int = 0
    succeeded_at: float = 0.0


@dataclass(slots=True)
class Tally:
    """All devices of a rollout, counted and sorted by what may follow for them.

    Attributes:
        waves: one for each wave.
        open, in_flight: not ended; of them those that were started.
        failures: unacknowledged ends by kind, of devices that are not tried again.
        executed: devices that have ended in a way that counts, whether well or not.
        opened: open and started, or no longer wanted.
        waiting: not started, of waves that are open.
        diverged: they succeeded and run something else.
        retried: they failed and are to be tried again.
        starts: when devices were started, as far back as the pace asks.
    """

    waves: list[WaveTally]
    open: int = 0
    in_flight: int = 0
    executed: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    opened: list[DeviceView] = field(default_factory=list)
    waiting: list[DeviceView] = field(default_factory=list)
    diverged: list[DeviceView] = field(default_factory=list)
    retried: list[DeviceView] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Devices that failed, but for those that diverged."""
        return self.failures.total() - self.failures[DIVERGED]

    @property
    def succeeded(self) -> int:
        return sum(wave.succeeded for wave in self.waves)

    @property
    def unfinished(self) -> int:
        return sum(wave.unfinished for wave in self.waves)


def count(rollout: RolloutView, devices: Sequence[DeviceView], now: float) -> Tally:
    """Look at every device once."""
    found = Tally([WaveTally() for _ in range(rollout.waves)])
    waves, starts, opened, waiting = found.waves, found.starts, found.opened, found.waiting
    pace, last_wave = rollout.policy.pace, rollout.wave
    since = float("inf") if pace is None else now - memory_s(pace)
    stopping = rollout.state is RolloutState.STOPPING
    servable = servable_digests(rollout)
    queued, succeeded = ExecutionState.QUEUED, ExecutionState.SUCCEEDED
    for device in devices:
        state, started_at, wave = device.state, device.started_at, waves[device.wave]
        if started_at is None and state is queued:
            found.open += 1
            wave.counted += 1
            wave.unfinished += 1
            if device.newer or device.pinned or stopping:
                opened.append(device)
            elif device.wave <= last_wave:
                waiting.append(device)
            continue
        if started_at is not None and started_at > since:
            starts.append(started_at)
        if state is succeeded:
            running = device.running_digest
            if running is None or running == device.digest or not _diverges(device):
                wave.counted += 1
                wave.succeeded += 1
                if device.ended_at is not None and device.ended_at > wave.succeeded_at:
                    wave.succeeded_at = device.ended_at
            else:
                _count_diverged(found, rollout, device, wave, servable)
        elif state in TERMINAL_EXECUTION_STATES:
            _count_failed(found, rollout, device, wave, servable)
        else:
            found.open += 1
            found.in_flight += 1
            wave.counted += 1
            wave.unfinished += 1
            opened.append(device)
    found.executed += found.succeeded
    return found


def _count_diverged(
    found: Tally,
    rollout: RolloutView,
    device: DeviceView,
    wave: WaveTally,
    servable: frozenset[str],
) -> None:
    found.diverged.append(device)
    again = is_brought_again(rollout.policy, device, servable)
    wave.unfinished += again
    wave.counted += again or not device.acknowledged
    if device.diverged and not device.acknowledged:
        found.failures[DIVERGED] += 1
        found.executed += 1


def _count_failed(
    found: Tally,
    rollout: RolloutView,
    device: DeviceView,
    wave: WaveTally,
    servable: frozenset[str],
) -> None:
    if rollout.state in _RETRIED_IN and _is_retried(rollout.policy, device, servable):
        found.retried.append(device)
        wave.unfinished += 1
        wave.counted += 1
    elif device.failed:
        found.failures[device.state.value] += 1
        found.executed += 1
        wave.counted += 1


def servable_digests(rollout: RolloutView) -> frozenset[str]:
    """Builds against which nothing stands."""
    return frozenset(o.digest for o in rollout.builds if o.admitted and not o.revoked)


def _diverges(device: DeviceView) -> bool:
    """Whether a device that had succeeded runs another build, which no one else brought it."""
    return (
        device.owned
        and not device.newer
        and not device.pinned
        and not device.reverts
        and device.running_digest is not None
        and device.running_digest != device.digest
    )


def is_brought_again(policy: Policy, device: DeviceView, servable: frozenset[str]) -> bool:
    """Whether a device that diverged gets a new attempt.

    Who went back at the device had a reason that nobody here knows: only a new rollout says
    something newer than that person.
    """
    left = device.attempt < policy.attempts_max
    return left and not device.by_hand and device.digest in servable


def _is_retried(policy: Policy, device: DeviceView, servable: frozenset[str]) -> bool:
    """Whether an attempt is left for a device that failed. It is brought the same build again,
    so not where that may not serve any more; and a shadow without a verdict is no failure."""
    if device.attempt > policy.retries or device.state not in policy.retry_kinds:
        return False
    unanswered = device.inconclusive and device.state is ExecutionState.TIMED_OUT
    taken = device.newer or device.pinned or device.reverts
    return not unanswered and not taken and device.digest in servable
