"""Sites and shadows over a whole hub and its broker, with devices that speak the protocol."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.rollouts import service as rollouts
from cloud.rollouts.request.spec import RolloutCreate
from cloud.rollouts.running.looking import shadow_of
from cloud.settings import load
from cloud.telemetry import service as telemetry
from protocol.messages import ExecutionReport, decode
from protocol.states import ExecutionState
from protocol.topics import Kind
from simulators.dials import Dials
from simulators.fleet import Broker, Fleet, make_devices
from tests.integration.brokers import RunningBroker
from tests.integration.edge_agent.device import DEVICE_ID, SLOT, Device
from tests.integration.rollouts.bench import ADMIN, Bench

pytestmark = pytest.mark.integration

S = ExecutionState
SITES = {"ulm": ("ulm-1", "ulm-2", "ulm-slow"), "bonn": ("bonn-1", "bonn-2")}
EVENTS_MAX = 1000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    hub = Hub(load(tmp_path / "hub"))
    hub.start()
    try:
        yield Bench(hub, tmp_path)
    finally:
        hub.stop()


@contextmanager
def sites_of_devices(bench: Bench, dials: Dials) -> Iterator[None]:
    """Two sites of virtual devices, of which one is slow."""
    with bench.hub.database.transaction() as session:
        for site, names in SITES.items():
            fleet.create_site(session, ADMIN, site, "Europe/Berlin")
            session.flush()
            for name in names:
                fleet.enrol(session, ADMIN, name, site=site, models=[SLOT])
    made = [
        device
        for name in [name for names in SITES.values() for name in names]
        for device in make_devices(
            [name], [SLOT], Dials(slow=8.0) if name == "ulm-slow" else dials, seed=7
        )
    ]
    address = bench.hub.address
    running = Fleet(made, Broker(address.host, address.port, "argosy/v1"), random.Random(7))
    stopping = threading.Event()
    thread = threading.Thread(target=running.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def begin(bench: Bench, number: int, **asked: Any) -> str:
    body = RolloutCreate.model_validate(
        {"model": SLOT, "version": number, "probation_s": 0.2, **asked}
    )
    with bench.hub.database.transaction() as session:
        return rollouts.create(session, ADMIN, body).id


def outcome(bench: Bench, rollout_id: str) -> str | None:
    with bench.hub.database.reading() as session:
        return rollouts.get(session, ADMIN, rollout_id).outcome


def steps(bench: Bench, rollout_id: str) -> list[tuple[str, ExecutionReport]]:
    """Device and step, in the order in which the hub heard of them."""
    with bench.hub.database.reading() as session:
        rows = telemetry.list_events(session, ADMIN, kind="execution", limit=EVENTS_MAX)
    found = [(row.device_id, decode(Kind.EVENTS, row.payload.encode()).execution) for row in rows]
    return [(device, step) for device, step in found if step.rollout_id == rollout_id]


def test_no_device_of_a_site_exchanges_before_all_are_prepared(bench: Bench) -> None:
    bench.publish(1)
    with sites_of_devices(bench, Dials(step_s=0.05)):
        chosen = f"site in ({','.join(SITES)})"
        window = {"cron": "0 * * * *", "duration_s": 7200}  # it is always open
        rollout_id = begin(bench, 1, site_atomic=True, window=window, selector=chosen)
        bench.wait(lambda: outcome(bench, rollout_id) == "SUCCEEDED")
    told = steps(bench, rollout_id)
    for names in SITES.values():
        there = [step.state for device, step in told if device in names]
        assert there.count(S.PREPARED) == len(names)
        last_prepared = max(i for i, s in enumerate(there) if s is S.PREPARED)
        assert there.index(S.SWAPPING) > last_prepared
    order = [device for device, step in told if step.state is S.SUCCEEDED]
    assert set(order[:2]) == set(SITES["bonn"]), "a site waited for another one"


def test_a_person_lets_a_device_go_on_whose_shadow_does_not_tell(bench: Bench) -> None:
    bench.publish(1)
    bench.publish(2)
    only = {"devices": ["bonn-1"]}
    with sites_of_devices(bench, Dials(step_s=0.05, unsure=1.0)):
        first = begin(bench, 1, **only)
        bench.wait(lambda: outcome(bench, first) == "SUCCEEDED")
        second = begin(bench, 2, shadow={}, **only)
        bench.wait(lambda: asks(bench, second))
        with bench.hub.database.transaction() as session:
            rollouts.accept(session, ADMIN, second, "bonn-1")
        bench.wait(lambda: outcome(bench, second) == "SUCCEEDED")


def asks(bench: Bench, rollout_id: str) -> bool:
    with bench.hub.database.reading() as session:
        rollout = rollouts.get(session, ADMIN, rollout_id)
        row = rollouts.executions(session, rollout)[-1]
        device = fleet.get_device(session, ADMIN, row.device_id)
        return shadow_of(rollout, row, device) == "INCONCLUSIVE"


def test_an_agent_waits_for_the_slowest_of_its_site(bench: Bench, tmp_path: Path) -> None:
    agent = Device(tmp_path / "device", RunningBroker(bench.hub.address.port))
    agent.start()
    try:
        bench.publish(1)
        bench.roll_out(1)
        digest = bench.publish(2)
        with sites_of_devices(bench, Dials(step_s=0.05)):
            with bench.hub.database.transaction() as session:
                device = fleet.get_device(session, ADMIN, DEVICE_ID)
                device.site = "ulm"
                session.add(device)
            rollout_id = begin(bench, 2, site_atomic=True, selector="site=ulm")
            bench.wait(lambda: outcome(bench, rollout_id) == "SUCCEEDED")
        told = steps(bench, rollout_id)
        slowest = told.index(next(t for t in told if is_at(t, "ulm-slow", S.PREPARED)))
        mine = told.index(next(t for t in told if is_at(t, DEVICE_ID, S.SWAPPING)))
        assert mine > slowest
        bench.wait(lambda: bench.running() == digest)
    finally:
        agent.stop()


def test_an_agent_that_has_nothing_to_serve_does_not_wait_for_its_site(
    bench: Bench, tmp_path: Path
) -> None:
    """A line whose disk was replaced is not to stay blind until the last of its site is back."""
    agent = Device(tmp_path / "device", RunningBroker(bench.hub.address.port))
    digest = bench.publish(1)
    with bench.hub.database.transaction() as session:
        fleet.create_site(session, ADMIN, "ulm", "Europe/Berlin")
        session.flush()
        fleet.get_device(session, ADMIN, DEVICE_ID).site = "ulm"
        fleet.enrol(session, ADMIN, "away", site="ulm", models=[SLOT])
    agent.start()
    try:
        begin(bench, 1, site_atomic=True, selector="site=ulm")
        bench.wait(lambda: bench.running() == digest)
    finally:
        agent.stop()


def is_at(told: tuple[str, ExecutionReport], device_id: str, state: ExecutionState) -> bool:
    return told[0] == device_id and told[1].state is state
