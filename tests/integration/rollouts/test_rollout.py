"""Rollouts from the hub's database to a real agent and back, over the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.hub import Hub
from cloud.settings import load
from tests.integration.brokers import RunningBroker
from tests.integration.edge_agent.device import Device
from tests.integration.rollouts.bench import Bench

pytestmark = pytest.mark.integration


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    hub = Hub(load(tmp_path / "hub"))
    hub.start()
    try:
        yield Bench(hub, tmp_path)
    finally:
        hub.stop()


def test_a_good_version_stays_and_a_bad_one_leaves_no_trace(bench: Bench, tmp_path: Path) -> None:
    device = Device(tmp_path / "device", RunningBroker(bench.hub.address.port))
    device.start()
    try:
        good = bench.publish(1)
        rollout, execution = bench.roll_out(1)
        assert (rollout.outcome, execution.state) == ("SUCCEEDED", "SUCCEEDED"), device.log()
        bench.wait(lambda: bench.running() == good)

        bench.publish(2, golden_error=0.2)
        rollout, execution = bench.roll_out(2)
        assert (rollout.outcome, execution.state) == ("FAILED", "REJECTED")
        assert execution.reason
        assert bench.desired() == good
        assert bench.running() == good

        better = bench.publish(3)
        rollout, execution = bench.roll_out(3)
        assert (rollout.outcome, execution.attempt) == ("SUCCEEDED", 1)
        bench.wait(lambda: bench.running() == better)
    finally:
        device.stop()
