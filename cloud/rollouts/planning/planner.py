"""What follows for a rollout from what is known now. Pure.

`plan` is asked again and again; it answers with the next step only, and once the
answer is carried out it gives another one or none. So a plan that is carried out twice,
or computed twice from the same state, changes nothing more than once: every action
names the device and the attempt that it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud.rollouts.planning import ending, gate_steps, reverting, sites, starting, thresholds
from cloud.rollouts.planning.starting import DIVERGED_GRACE_S
from cloud.rollouts.planning.tally import Tally, count
from cloud.rollouts.planning.views import (
    Abort,
    Action,
    DeviceView,
    Finish,
    MarkDiverged,
    RolloutView,
)
from cloud.rollouts.states import BY_HAND, Outcome, RolloutState

__all__ = ["DIVERGED_GRACE_S", "plan"]


@dataclass(frozen=True, slots=True)
class _Look:
    """All that a stage may ask."""

    rollout: RolloutView
    devices: Sequence[DeviceView]
    tally: Tally
    now: float


def plan(rollout: RolloutView, devices: Sequence[DeviceView], now: float) -> list[Action]:
    """The next actions, of one stage; none where the rollout has to wait.

    `devices` holds one view per device, that of its latest attempt.
    """
    stages = _STAGES.get(rollout.state, ())
    if not stages:
        return []
    look = _Look(rollout, devices, count(rollout, devices, now), now)
    for stage in stages:
        if actions := stage(look):
            return actions
    return []


def _endings(look: _Look) -> list[Action]:
    return ending.endings(look.rollout, look.tally, look.now)


def _marks(look: _Look) -> list[Action]:
    return [
        _marked(device)
        for device in look.tally.diverged
        if not device.diverged or (device.by_hand and not device.by_hand_marked)
    ]


def _marked(device: DeviceView) -> MarkDiverged:
    cause = BY_HAND if device.by_hand else "not what it had committed"
    reason = f"runs {device.running_digest}, {cause}"
    return MarkDiverged(device.device_id, device.attempt, reason, by_hand=device.by_hand)


def _reaction(look: _Look) -> list[Action]:
    """What failures, and a gate that says FAIL, ask for."""
    found = thresholds.exceeded(look.rollout.policy, look.tally)
    reaction = thresholds.strongest(gate_steps.against(look.rollout) + found)
    return [reaction] if reaction else []


def _taking_back(look: _Look) -> list[Action]:
    """A reaction that a rollout needs also where all its devices have ended."""
    return [action for action in _reaction(look) if isinstance(action, Abort) and action.revert]


def _finish(look: _Look) -> list[Action]:
    rollout, tally = look.rollout, look.tally
    if rollout.policy.continuous or tally.unfinished:
        return []
    if not gate_steps.let_through(rollout, tally):
        return []
    if tally.succeeded == len(look.devices):
        return [Finish(Outcome.SUCCEEDED)]
    return [Finish(Outcome.PARTIAL if tally.succeeded else Outcome.FAILED)]


def _approval(look: _Look) -> list[Action]:
    return gate_steps.approval(look.rollout, look.rollout.wave)


def _starts(look: _Look) -> list[Action]:
    return starting.starts(look.rollout, look.devices, look.tally, look.now)


def _releases(look: _Look) -> list[Action]:
    return sites.releases(look.rollout, look.devices, look.tally, look.now)


def _looks(look: _Look) -> list[Action]:
    return gate_steps.looks(look.rollout, look.tally, look.now)


def _advance(look: _Look) -> list[Action]:
    return gate_steps.advance(look.rollout, look.tally, look.now)


def _reverts(look: _Look) -> list[Action]:
    return reverting.reverts(look.rollout, look.devices, look.tally, look.now)


def _stop(look: _Look) -> list[Action]:
    return reverting.stop(look.rollout, look.devices, look.tally)


_Stage = Callable[[_Look], list[Action]]

_STAGES: dict[RolloutState, tuple[_Stage, ...]] = {
    RolloutState.RUNNING: (
        *(_endings, _marks, _taking_back, _finish, _reaction),
        *(_approval, _starts, _releases, _looks, _advance),
    ),
    RolloutState.PAUSED: (_endings, _marks, _finish),
    RolloutState.STOPPING: (_endings, _reverts, _stop),
    RolloutState.FINISHED: (_endings, _marks, _starts),
}
