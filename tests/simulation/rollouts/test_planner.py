"""Whatever devices do, a rollout keeps its rules and comes to an end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from cloud.rollouts.states import Outcome, RolloutState
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState
from tests.simulation.rollouts.builds import DIGEST
from tests.simulation.rollouts.world import World, build_world

SEEDS = range(250)
STEPS_MAX = 400
ENDED = (RolloutState.FINISHED, RolloutState.STOPPED)


def run_to_the_end(world: World, cancel_at: int = -1, supersede_at: int = -1) -> None:
    for step in range(STEPS_MAX):
        world.now += world.rng.choice([1.0, 10.0, 40.0])
        world.step_devices()
        if step == supersede_at:
            world.supersede(0.5)
        world.settle()
        if world.rollout.state is RolloutState.PAUSED:
            world.resume()
        if step == cancel_at and world.rollout.state is RolloutState.RUNNING:
            world.cancel()
        if world.rollout.state in ENDED and world.rests():
            return
    raise AssertionError(f"not at its end after {STEPS_MAX} steps: {world.rollout}")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_device_ends_and_the_rollout_finishes(seed: int) -> None:
    world = build_world(seed)

    run_to_the_end(world)

    states = Counter(device.state for device in world.devices.values())
    assert set(states) <= TERMINAL_EXECUTION_STATES
    assert sum(states.values()) == len(world.edges)
    for device_id, device in world.devices.items():
        kind = world.edges[device_id].kind
        if kind == "silent":
            assert device.state is ExecutionState.TIMED_OUT
        if kind == "failing":
            assert device.state in (ExecutionState.ROLLED_BACK, ExecutionState.TIMED_OUT)
        if kind == "unable":
            assert device.state is ExecutionState.NO_ARTIFACT
        if kind == "odd" and device.state is ExecutionState.SUCCEEDED:
            assert (device.diverged, device.attempt) == (True, 3)


@pytest.mark.parametrize("seed", range(60))
def test_a_cancelled_rollout_stops_and_starts_nothing_more(seed: int) -> None:
    world = build_world(seed)

    run_to_the_end(world, cancel_at=seed % 7)

    assert not any(device.open for device in world.devices.values())


@pytest.mark.parametrize("seed", range(60))
def test_a_newer_rollout_takes_what_is_not_yet_exchanged(seed: int) -> None:
    world = build_world(seed)

    run_to_the_end(world, supersede_at=seed % 5)

    assert world.outcome is not None
    assert all(a <= 3 for _, a in world.started)


@pytest.mark.parametrize("seed", range(30))
def test_good_devices_all_get_the_build(seed: int) -> None:
    world = build_world(seed, kinds=("good",))
    patient = replace(world.rollout.policy, step_timeout_s=1e6, total_timeout_s=1e6)
    world.rollout = replace(world.rollout, policy=patient)

    run_to_the_end(world)

    assert world.outcome is Outcome.SUCCEEDED
    assert {device.running_digest for device in world.devices.values()} == {DIGEST}
    assert len(world.started) == len(world.devices)


@pytest.mark.parametrize("seed", range(30))
def test_nobody_who_went_back_by_hand_is_overruled(seed: int) -> None:
    world = build_world(seed, kinds=("good", "odd", "returned"))

    run_to_the_end(world)

    for name, device in world.devices.items():
        if world.edges[name].kind == "returned" and device.state is ExecutionState.SUCCEEDED:
            assert (device.attempt, device.diverged, device.by_hand_marked) == (1, True, True)
