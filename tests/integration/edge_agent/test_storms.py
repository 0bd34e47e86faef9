"""Many desired states, the same again, and older ones: the newest is what is reached."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from protocol.states import EXECUTION_TABLE, TERMINAL_EXECUTION_STATES, ExecutionState
from tests.fixtures.models import write_bundle
from tests.integration.brokers import RunningBroker
from tests.integration.edge_agent.device import SLOT, Device
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for
from tests.integration.edge_agent.faults_bundles import make_bundles
from tests.integration.edge_agent.faults_running import LIMITS, Bundles

pytestmark = pytest.mark.integration

GENERATIONS = 100
EVERY_S = 0.08
LEGAL = {(before, after) for (before, _event), after in EXECUTION_TABLE.items()}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return make_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def line(bundles: Bundles, tmp_path: Path, broker: RunningBroker, hub: FakeHub) -> Iterator[Device]:
    """A device that serves the incumbent, and knows the way to the candidate."""
    device = Device(tmp_path / "device", broker, limits=LIMITS)
    shutil.copytree(bundles.device, device.data)
    hub.stored.update(bundles.stored)
    hub.generation = 1
    for found, folder in bundles.folders.items():
        hub.offer(folder, found)
    device.start()
    wait_for(device.detections, "the first answer")
    yield device
    if device.ended is None:
        device.kill()
    print(device.log())  # noqa: T201 - shown by pytest where the test failed


def desire(hub: FakeHub, bundles: Bundles, digest: str, attempt: int) -> None:
    manifest = hub.offer(bundles.folders[digest], digest)
    hub.desire(SLOT, digest, manifest, attempt=attempt)


def ended(hub: FakeHub, attempt: int) -> bool:
    told = hub.passage(attempt)
    return bool(told) and told[-1].state in TERMINAL_EXECUTION_STATES


def paths(hub: FakeHub) -> dict[int, list[ExecutionState]]:
    """The states of each attempt; none is told of after a later one has begun."""
    told = [e.execution for e in hub.of("events") if e.execution is not None]
    runs = [(n, [e.state for e in group]) for n, group in groupby(told, lambda e: e.attempt)]
    assert len({attempt for attempt, _ in runs}) == len(runs), "attempts were told in turns"
    return dict(runs)


def assert_legal(path: list[ExecutionState]) -> None:
    assert path[0] is ExecutionState.QUEUED
    assert path[-1] in TERMINAL_EXECUTION_STATES
    assert len(set(path)) == len(path), f"told twice: {path}"
    assert set(pairwise(path)) <= LEGAL, path


def test_two_desired_states_in_one_second(
    line: Device, hub: FakeHub, bundles: Bundles, tmp_path: Path
) -> None:
    third, manifest = write_bundle(tmp_path / "third", variant=3, version=3)
    hub.offer(tmp_path / "third", third)
    desire(hub, bundles, bundles.candidate, 2)
    time.sleep(0.4)
    hub.desire(SLOT, third, manifest, attempt=3)
    wait_for(lambda: ended(hub, 3), "the end of the newer attempt")
    found = paths(hub)
    for path in (found[2], found[3]):
        assert_legal(path)
    assert found[3][-1] is ExecutionState.SUCCEEDED
    assert {seen["bundle_digest"] for seen in line.detections()} <= {*bundles.folders, third}
    wait_for(lambda: hub.running(SLOT) == third, "the report")


def test_a_hundred_generations(line: Device, hub: FakeHub, bundles: Bundles) -> None:
    """Far faster than any attempt: each is taken up or skipped, and the last is reached."""
    wanted = [bundles.candidate, bundles.incumbent]
    for number in range(GENERATIONS):
        desire(hub, bundles, wanted[number % 2], 2 + number)
        time.sleep(EVERY_S)
    desire(hub, bundles, bundles.candidate, 2 + GENERATIONS)
    wait_for(lambda: ended(hub, 2 + GENERATIONS), "the end of the last attempt")
    found = paths(hub)
    for attempt in sorted(found)[1:]:
        assert_legal(found[attempt])
    assert found[2 + GENERATIONS][-1] is ExecutionState.SUCCEEDED
    wait_for(lambda: hub.reports[-1].desired_generation == hub.generation, "the report")
    assert hub.running(SLOT) == bundles.candidate
    assert line.ended is None


def test_the_same_generation_again_and_an_older_one(
    line: Device, hub: FakeHub, bundles: Bundles
) -> None:
    desire(hub, bundles, bundles.candidate, 2)
    wait_for(lambda: ended(hub, 2), "the end of the attempt")
    told = len(hub.of("events"))
    for _ in range(20):
        hub.publish_again()
    retained = hub._retained
    hub.generation = 0
    desire(hub, bundles, bundles.incumbent, 3)  # generation 1, long ago
    hub.generation, hub._retained = 2, retained
    wait_for(lambda: "desired_is_old" in line.log(), "the older one")
    hub.publish_again()
    reports = len(hub.reports)
    wait_for(lambda: len(hub.reports) > reports + 1, "further reports")
    assert [e for e in hub.of("events")[told:] if e.execution is not None] == []
    assert hub.running(SLOT) == bundles.candidate
    assert hub.reports[-1].desired_generation == 2
