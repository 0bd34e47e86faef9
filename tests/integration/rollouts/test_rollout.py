"""Rollouts from the hub's database to a real agent and back, over the embedded broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.hub import Hub
from cloud.settings import load
from tests.conftest import ROOT
from tests.integration.brokers import RunningBroker
from tests.integration.edge_agent.device import SLOT, Device
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


@pytest.fixture
def device(bench: Bench, tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path / "device", RunningBroker(bench.hub.address.port))
    device.start()
    try:
        yield device
    finally:
        device.stop()


def roll_back(device: Device, *options: str) -> None:
    """What a person at the device types, whether its agent runs or not."""
    rollback = ("rollback", "--slot", SLOT, *options, "-c", str(device.config))
    went = subprocess.run(
        [sys.executable, "-m", "edge_agent", *rollback], cwd=ROOT, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
    )  # fmt: skip
    assert went.returncode == 0, went.stdout


def left_while_away(bench: Bench, device: Device) -> tuple[str, str]:
    """Two versions have served, and a person went back while nobody heard of it: the digest
    that serves, and the rollout whose build was left."""
    good = bench.publish(1)
    bench.roll_out(1)
    bench.publish(2)
    rollout_id = bench.begin(2)
    bench.wait(lambda: bench.look(rollout_id)[0].state == "FINISHED")
    device.stop()
    roll_back(device)
    return good, rollout_id


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


def test_neither_what_a_person_left_nor_what_is_revoked_comes_back(
    bench: Bench, tmp_path: Path
) -> None:
    device = Device(tmp_path / "device", RunningBroker(bench.hub.address.port))
    device.start()
    try:
        good = bench.publish(1)
        bench.roll_out(1)

        bench.publish(2)
        endless = {"share": 1.0, "frames_min": 1_000_000, "duration_max_s": 3600}
        rollout_id = bench.begin(2, shadow=endless)
        bench.wait(lambda: bench.look(rollout_id)[1].state == "SHADOWING")
        roll_back(device, "--force")
        bench.wait(lambda: bench.look(rollout_id)[1].state == "CANCELED")
        assert bench.look(rollout_id)[1].by_hand
        assert bench.desired() == good, "what that person kept"
        bench.wait(lambda: (told := bench.last_told()) is not None and told.bundle_digest == good)

        bench.publish(3, golden_error=0.2)
        assert bench.roll_out(3)[1].state == "REJECTED"
        assert bench.desired() == good
        # It runs already, which the device says of the new wish.
        bench.wait(lambda: (told := bench.last_told()) is not None and told.bundle_digest == good)
        assert bench.running() == good

        bench.revoke_below(2)
        bench.publish(4, golden_error=0.2)
        assert bench.roll_out(4)[1].state == "REJECTED"
        assert bench.desired() is None
        assert bench.running() == good
    finally:
        device.stop()


def test_a_pin_is_let_go_to_what_a_person_had_gone_back_to(bench: Bench, device: Device) -> None:
    good, _ = left_while_away(bench, device)
    held = bench.publish(3)
    bench.pin(3)
    device.start()
    bench.wait(lambda: bench.running() == held)
    bench.wait(lambda: (told := bench.last_told()) is not None and told.state == "SUCCEEDED")
    assert bench.unpin() == good
    bench.wait(lambda: bench.running() == good)
    assert bench.desired() == good


def test_a_failure_comes_back_to_what_a_person_had_gone_back_to(
    bench: Bench, device: Device
) -> None:
    good, left = left_while_away(bench, device)
    bench.publish(3, golden_error=0.2)
    rollout_id = bench.begin(3)
    bench.wait(lambda: bench.look(rollout_id)[1].started_at is not None)
    device.start()
    bench.wait(lambda: bench.look(rollout_id)[1].state == "REJECTED")
    assert bench.desired() == good
    assert bench.running() == good
    record = bench.record(left)
    assert record["outcome"]["have_it"] == 0
    (item,) = record["deviations"]["by_hand"]["items"]
    assert "somebody at the device went back" in item["reason"]
