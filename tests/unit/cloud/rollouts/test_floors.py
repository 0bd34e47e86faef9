"""A model's floor in what devices are told, whoever raised it and whoever was killed then."""

from __future__ import annotations

from cloud.fleet import service as fleet
from cloud.fleet.schemas import DesiredChange
from cloud.registry import service as registry
from cloud.rollouts import service
from cloud.rollouts.running import floors
from cloud.rollouts.running.engine import Engine
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts.conftest import ADMIN, MODEL, Hub
from tests.unit.cloud.rollouts.test_policies import ONE, slot, told


def test_a_raised_floor_reaches_every_device_of_the_model(hub: Hub) -> None:
    rollout_id = hub.create(version=2)
    hub.settle()
    with hub.database.transaction() as session:
        other = slot(hub, "dev-0").model_copy(update={"model": "bottles"})
        fleet.set_slot(session, ADMIN, "shelf", "bottles", other)
        registry.set_floor(session, ADMIN, MODEL, 2)
    hub.settle(1)

    assert [slot(hub, f"dev-{n}").floor for n in range(6)] == [2] * 6
    assert told(hub, "shelf") == 1
    hub.settle(1)
    assert [told(hub, f"dev-{n}") for n in range(6)] == [2] * 6
    assert all(row.state == "QUEUED" for row in hub.executions(rollout_id).values())


def test_a_hub_that_was_killed_over_a_floor_tells_it_after_its_start(hub: Hub) -> None:
    hub.create(**ONE, version=2)
    hub.settle()
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    again = Engine(hub.database, 1.0)
    assert not again.tick(hub.now)  # the other one still has the lease
    assert slot(hub, "dev-0").floor == 1
    again.tick(hub.now + 11)
    assert slot(hub, "dev-0").floor == 2


def test_a_new_rollout_and_a_withdrawal_carry_the_floor(hub: Hub) -> None:
    hub.create(**ONE, version=2)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    hub.create(**ONE, version=2, shadow={}, step_timeout_s=60, total_timeout_s=4000)
    hub.settle()
    assert slot(hub, "dev-0").floor == 2
    hub.settle(61)
    back = slot(hub, "dev-0")
    assert (back.floor, back.shadow, back.hold) == (2, None, False)


def test_a_slot_set_by_hand_does_not_lower_the_floor(hub: Hub) -> None:
    hub.create(**ONE, version=2)
    hub.settle()
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    hub.settle(1)
    by_hand = slot(hub, "dev-0").model_copy(update={"floor": 1})
    with hub.database.transaction() as session:
        slots = {MODEL: by_hand}
        fleet.change_desired(session, ADMIN, "dev-0", slots=slots, keep_floors=True)
    assert slot(hub, "dev-0").floor == 2
    with hub.database.transaction() as session:
        fleet.change_desired(session, ADMIN, "dev-0", slots={"other": by_hand})
    hub.settle(floors.LOOK_AGAIN_S + 1)
    assert hub.published.desired("dev-0")[-1].slots["other"].floor == 2


def test_a_slot_set_by_hand_does_not_lower_a_floor_that_outlived_its_slot(hub: Hub) -> None:
    hub.create(devices=["dev-0"])
    hub.settle()
    by_hand = slot(hub, "dev-0").model_copy(update={"rollout_id": None})
    with hub.database.transaction() as session:
        fleet.change_desired(session, ADMIN, "dev-0", slots={MODEL: None}, floors={MODEL: 3})
    assert hub.published.desired("dev-0")[-1].floors == {MODEL: 3}

    with hub.database.transaction() as session:
        change = DesiredChange(slots={MODEL: by_hand})
        service.change_desired(session, ADMIN, "dev-0", change)

    assert slot(hub, "dev-0").floor == 3
    assert hub.published.desired("dev-0")[-1].floors == {}


def test_a_floor_reaches_a_device_whose_slot_desires_nothing_any_more(hub: Hub) -> None:
    """What was before may not serve again, so nothing is desired; the device goes on with what
    it has, and is to hear what becomes of it."""
    hub.create(**ONE, version=1)
    hub.settle()
    hub.succeed("dev-0")
    hub.create(**ONE, version=2)
    hub.settle()
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
    hub.settle(1)
    hub.report("dev-0", ExecutionState.ROLLED_BACK)
    hub.settle(1)
    for floor in (2, 1, 2):
        with hub.database.transaction() as session:
            registry.set_floor(session, ADMIN, MODEL, floor, reason="again")
        hub.settle(1)
        said = hub.published.desired("dev-0")[-1]
        assert (said.slots, said.floors) == ({}, {MODEL: floor})
    hub.create(**ONE, version=2)
    hub.settle()
    said = hub.published.desired("dev-0")[-1]
    assert (said.slots[MODEL].version, said.floors) == (2, {})
