"""The barrier: whatever devices do, a site is exchanged at one word, and all of it is under way
together within what may be in flight."""

from __future__ import annotations

from random import Random

import pytest

from cloud.rollouts.planning.views import PacePolicy, Policy, WavePolicy
from cloud.rollouts.states import Outcome
from protocol.states import ExecutionState
from tests.simulation.rollouts.builds import DIGEST
from tests.simulation.rollouts.devices import ROLLOUT
from tests.simulation.rollouts.scenario import build_world
from tests.simulation.rollouts.test_seeds import check_the_end, run_to_the_end
from tests.simulation.rollouts.world import World

KINDS = ("good", "good", "slow", "flaky", "failing", "silent", "unable", "losing", "losing")
RETRIED = frozenset({ExecutionState.FAILED, ExecutionState.TIMED_OUT})


def atomic_world(seed: int, kinds: tuple[str, ...] = KINDS, **values: object) -> World:
    """Sites of a few devices, often with hardly room for the largest of them."""
    rng = Random(seed)
    given: dict[str, object] = {
        "waves": (WavePolicy(success_percent=50.0),) * rng.randint(1, 3),
        "in_flight_max": rng.choice([None, 8, 20]),
        "pace": rng.choice([None, PacePolicy(2.0), PacePolicy(30.0, 2.0, 2)]),
        "failed_max": rng.choice([1, 5, None]),
        "retries": rng.choice([0, 2]),
        "retry_kinds": RETRIED,
        "retry_after_s": 60.0,
        "step_timeout_s": 120.0,
        "total_timeout_s": 1800.0,
        "site_atomic": True,
    }
    policy = Policy(**{**given, **values})  # type: ignore[arg-type]
    world = build_world(seed, 20, kinds=kinds, policy=policy)
    world.people.meddle = 0.0
    return world


@pytest.mark.parametrize("seed", range(250))
def test_no_device_exchanges_before_its_site_is_prepared(seed: int) -> None:
    world = atomic_world(seed)
    run_to_the_end(world)
    check_the_end(world)


@pytest.mark.parametrize("seed", range(100))
def test_a_device_that_is_lost_after_the_word_follows_when_it_comes_back(seed: int) -> None:
    world = atomic_world(seed, ("good", "losing"), retries=0)
    world.people.reverts = False

    run_to_the_end(world)

    for device_id, rows in world.hub.rows.items():
        slot = world.hub.slots[device_id]
        if rows[-1].released and slot is not None and slot.owner == ROLLOUT:
            assert rows[-1].state in (ExecutionState.SUCCEEDED, ExecutionState.TIMED_OUT)
            assert world.hub.edges[device_id].running == DIGEST


@pytest.mark.parametrize("seed", range(60))
def test_a_patient_rollout_brings_every_site_over(seed: int) -> None:
    patient = {"step_timeout_s": 1e6, "total_timeout_s": 1e6, "in_flight_max": 20}
    world = atomic_world(seed, ("good", "slow", "losing"), **patient)
    world.people.abort_at = world.people.newer_at = -1

    run_to_the_end(world)

    assert world.hub.outcome is Outcome.SUCCEEDED
    assert {rows[-1].state for rows in world.hub.rows.values()} == {ExecutionState.SUCCEEDED}
    assert all(rows[-1].released or not rows[-1].held for rows in world.hub.rows.values())
