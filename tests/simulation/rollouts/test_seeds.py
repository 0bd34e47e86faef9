"""A thousand worlds with every fault: the rules hold after every tick, and all comes to an end."""

from __future__ import annotations

import pytest

from cloud.rollouts.planning.views import Policy, WavePolicy
from cloud.rollouts.states import Outcome, RolloutState
from protocol.states import TERMINAL_EXECUTION_STATES, ExecutionState
from tests.simulation.rollouts.builds import DIGEST
from tests.simulation.rollouts.devices import ROLLOUT
from tests.simulation.rollouts.scenario import BEFORE, GOOD, GOOD_AND_LATE, build_world
from tests.simulation.rollouts.world import Faults, World

SEEDS = 1000
TICKS_MAX = 1200
_S = ExecutionState
UNABLE_TO_RETURN = (_S.FAILED, _S.ROLLED_BACK, _S.CANCELED)


def devices_of(seed: int) -> int:
    """How many devices at most the world of a seed has here."""
    return 120 if seed % 100 == 99 else 20


def run_to_the_end(world: World) -> None:
    """Until nothing can follow any more; then every device that lives comes back."""
    while not world.has_ended():
        world.tick()
        if world.ticks > TICKS_MAX:
            raise AssertionError(f"not at its end after {world.ticks} ticks")
    world.converge()
    world.rules.after()


def check_the_end(world: World) -> None:
    """Every device has ended or never began, and what was taken back is as it was."""
    hub = world.hub
    for device_id, rows in hub.rows.items():
        edge, last = world.hub.edges[device_id], rows[-1]
        assert {row.state for row in rows} <= TERMINAL_EXECUTION_STATES
        if edge.kind == "silent" and last.started_at is not None:
            assert last.state is not _S.SUCCEEDED
    if hub.rollout.state is RolloutState.STOPPED and hub.rollout.reverting:
        check_what_was_taken_back(world)


def check_what_was_taken_back(world: World) -> None:
    """The earlier generation is desired again, and run by all that can be reached."""
    hub = world.hub
    assert hub.stopped is not None
    back = [rows[-1] for rows in hub.rows.values() if rows[-1].reverts]
    assert hub.stopped.reverted == sum(row.state is _S.SUCCEEDED for row in back)
    assert hub.stopped.left >= sum(row.state in (*UNABLE_TO_RETURN, _S.TIMED_OUT) for row in back)
    for device_id, rows in hub.rows.items():
        slot, before = hub.slots[device_id], rows[0].before
        mine = slot is None or slot.owner in (ROLLOUT, BEFORE)
        if not mine or before is None or hub.barred:
            continue
        assert slot is not None
        assert slot.digest == before.digest, f"{device_id} is to run {slot}"
        # A device that could not go back is counted as left; one that was away comes back.
        unable = rows[-1].reverts and rows[-1].state in UNABLE_TO_RETURN
        if hub.edges[device_id].kind != "silent" and not unable:
            assert hub.edges[device_id].running == before.digest, f"{device_id} was left"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_rules_hold_whatever_happens(seed: int) -> None:
    world = build_world(seed, devices_of(seed))
    run_to_the_end(world)
    check_the_end(world)


@pytest.mark.parametrize("seed", range(20))
def test_good_devices_all_get_the_build_whatever_the_network_does(seed: int) -> None:
    patient = Policy(waves=(WavePolicy(30.0),) * 3, step_timeout_s=1e6, total_timeout_s=1e6)
    world = build_world(seed, kinds=GOOD_AND_LATE, policy=patient)
    world.people.abort_at = world.people.newer_at = -1
    world.people.meddle = 0.0

    run_to_the_end(world)

    assert world.hub.outcome is Outcome.SUCCEEDED
    assert {edge.running for edge in world.hub.edges.values()} == {DIGEST}
    assert len(world.hub.began) == len(world.hub.rows)


def test_the_same_seed_is_the_same_world() -> None:
    logs = []
    for _ in range(2):
        world = build_world(7)
        run_to_the_end(world)
        logs.append(world.hub.log)
    assert logs[0] == logs[1]


def test_a_world_without_faults_takes_each_device_once_through() -> None:
    world = build_world(3, kinds=GOOD, faults=Faults(), policy=Policy())
    world.people.abort_at = world.people.newer_at = -1
    world.people.meddle = 0.0
    run_to_the_end(world)
    assert world.hub.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("seed", range(30))
def test_devices_end_as_their_kind_lets_them(seed: int) -> None:
    policy = Policy(failed_max=None, step_timeout_s=300.0, attempts_max=3)
    world = build_world(seed, policy=policy)
    world.people.abort_at = world.people.newer_at = -1
    world.people.meddle = 0.0

    kinds = {device_id: edge.kind for device_id, edge in world.hub.edges.items()}
    run_to_the_end(world)

    ends = {
        "good": {_S.SUCCEEDED},
        "silent": {_S.TIMED_OUT},
        "hung": {_S.TIMED_OUT},
        "failing": {_S.ROLLED_BACK, _S.TIMED_OUT},
        "rejecting": {_S.REJECTED, _S.TIMED_OUT},
        "refusing": {_S.CANCELED, _S.TIMED_OUT},
        "unable": {_S.NO_ARTIFACT},
    }
    for device_id, rows in world.hub.rows.items():
        assert rows[-1].state in ends.get(kinds[device_id], _S)
        if kinds[device_id] == "returned":
            assert len(rows) == 1, "who went back by hand was overruled"
