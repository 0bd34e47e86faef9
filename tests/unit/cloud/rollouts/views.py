"""Devices as the planner sees them, for its tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.planning.views import DeviceView, Policy, RolloutView, WavePolicy
from cloud.rollouts.states import RolloutState
from protocol.states import ExecutionState
from tests.simulation.rollouts.builds import DIGEST, IDENTITY, OTHER

NOW = 5000.0
S = ExecutionState
BUILDS = (BuildOffer(DIGEST, IDENTITY),)
ROLLOUT = RolloutView(RolloutState.RUNNING, 0, 2, BUILDS, Policy(waves=(WavePolicy(),) * 2))
STOPPING = replace(ROLLOUT, state=RolloutState.STOPPING)
REVERTING = replace(STOPPING, reverting=True, stopped_by="the gate says FAIL")


def device(name: str = "d", state: S = S.QUEUED, wave: int = 0, **values: Any) -> DeviceView:
    """A device that has not started."""
    return replace(DeviceView(name, wave, 1, state), **values)


def flying(state: S = S.DOWNLOADING, name: str = "d", **values: Any) -> DeviceView:
    """A device under way."""
    given = {"started_at": NOW - 10, "step_at": NOW - 5, "owned": True, "digest": DIGEST}
    return device(name, state, **{**given, **values})


def done(name: str = "d", state: S = S.SUCCEEDED, **values: Any) -> DeviceView:
    """A device that has ended."""
    given = {"ended_at": NOW - 5, "owned": state is S.SUCCEEDED}
    return flying(state, name, **{**given, **values})


def brought(name: str = "d", **values: Any) -> DeviceView:
    """A device that has the build, and another one to go back to."""
    return done(name, **{"return_digest": OTHER, **values})


def policy(**values: Any) -> Policy:
    """Rules of two plain waves."""
    return Policy(**{"waves": (WavePolicy(),) * 2, **values})


WAITING = device("later", wave=1)
