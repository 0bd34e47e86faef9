"""One rollout over 100,000 devices with every fault."""

from __future__ import annotations

from collections import Counter

import pytest

from cloud.rollouts.planning.views import ErrorPolicy, GateTimes, PacePolicy, Policy, WavePolicy
from cloud.rollouts.states import RolloutState
from protocol.states import ExecutionState
from tests.simulation.rollouts.scenario import build_world
from tests.simulation.rollouts.test_seeds import check_the_end, run_to_the_end
from tests.simulation.rollouts.world import World

DEVICES = 100_000
_S = ExecutionState


def large_world(sees: str, devices: int = DEVICES) -> World:
    """Three gated waves, at a pace that grows; seed 1 has people and a network as any."""
    policy = Policy(
        waves=(WavePolicy(60.0, 50.0),) * 3,
        pace=PacePolicy(3000.0, 3.0, 2000, 30_000.0),
        in_flight_max=25_000,
        failed_max=None,
        errors=(ErrorPolicy(frozenset({"ROLLED_BACK", "REJECTED"}), 40.0, 1000, "revert"),),
        retries=1,
        retry_after_s=120.0,
        retry_kinds=frozenset({_S.FAILED, _S.TIMED_OUT}),
        step_timeout_s=600.0,
        total_timeout_s=3600.0,
        gate=GateTimes(60.0, 600.0, "revert"),
    )
    world = build_world(1, policy=policy, sees=sees, devices=devices)
    world.people.abort_at = world.people.newer_at = world.people.bar_at = -1
    world.people.meddle = 0.0
    world.steps_s = (30.0, 60.0)
    return world


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_thousand_devices_come_to_an_end() -> None:
    world = large_world("good")

    run_to_the_end(world)
    check_the_end(world)

    states = Counter(rows[-1].state for rows in world.hub.rows.values())
    assert world.hub.rollout.state is RolloutState.FINISHED
    assert states[_S.SUCCEEDED] > len(world.hub.rows) / 2
    assert states[_S.TIMED_OUT] > 0
