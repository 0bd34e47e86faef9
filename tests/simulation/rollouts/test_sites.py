"""The barrier: whatever devices do, a site is exchanged at one word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloud.rollouts.states import RolloutState
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState
from tests.simulation.rollouts.world import Edge, World, build_world

KINDS = ("good", "good", "slow", "failing", "silent", "unable", "losing", "losing")
SITES = ("ulm", "bonn", None)
STEPS_MAX = 600
ENDED = (RolloutState.FINISHED, RolloutState.STOPPED)
FOLLOWED_S = 5000.0


def run(world: World, cancel_at: int = -1) -> None:
    for step in range(STEPS_MAX):
        world.now += world.rng.choice([1.0, 10.0, 40.0])
        before = {name: edge.exchanged for name, edge in world.edges.items()}
        world.step_devices()
        for name, edge in world.edges.items():
            if edge.exchanged and not before[name]:
                assert may_exchange(world, name, edge), f"{name} exchanged without the word"
        world.settle()
        if world.rollout.state is RolloutState.PAUSED:
            world.resume()
        if step == cancel_at and world.rollout.state is RolloutState.RUNNING:
            world.cancel()
        if world.rollout.state in ENDED:
            return
    raise AssertionError(f"not at its end after {STEPS_MAX} steps: {world.rollout}")


def may_exchange(world: World, name: str, edge: Edge) -> bool:
    alone = world.devices[name].site is None
    return alone or name in world.released or edge.attempt > 1


@pytest.mark.parametrize("seed", range(250))
def test_no_device_exchanges_before_its_site_is_prepared(seed: int) -> None:
    world = build_world(seed, KINDS, sites=SITES)

    run(world)

    assert {device.state for device in world.devices.values()} <= TERMINAL_EXECUTION_STATES


@pytest.mark.parametrize("seed", range(60))
def test_a_cancel_calls_no_device_back_that_was_given_the_word(seed: int) -> None:
    world = build_world(seed, KINDS, sites=SITES)

    run(world, cancel_at=seed % 9)

    canceled = {n for n, d in world.devices.items() if d.state is ExecutionState.CANCELED}
    assert not canceled & world.released


@pytest.mark.parametrize("seed", range(100))
def test_a_device_that_is_lost_after_the_word_follows_when_it_comes_back(seed: int) -> None:
    world = build_world(seed, ("good", "losing"), sites=SITES)

    run(world)
    for name in sorted(world.edges):
        world.edges[name].kind = "good"
    world.now += FOLLOWED_S
    for _ in range(20):
        world.step_devices()
        world.settle()

    for name in world.released:
        assert world.edges[name].state is ExecutionState.SUCCEEDED
        assert world.devices[name].state in (ExecutionState.SUCCEEDED, ExecutionState.TIMED_OUT)


@pytest.mark.parametrize("seed", range(60))
def test_a_patient_rollout_brings_every_site_over(seed: int) -> None:
    world = build_world(seed, ("good", "slow", "losing"), sites=SITES)
    patient = replace(world.rollout.policy, step_timeout_s=1e6, total_timeout_s=1e6)
    world.rollout = replace(world.rollout, policy=patient)

    run(world)

    assert {d.state for d in world.devices.values()} == {ExecutionState.SUCCEEDED}
    assert world.released == {n for n, d in world.devices.items() if d.site is not None}
