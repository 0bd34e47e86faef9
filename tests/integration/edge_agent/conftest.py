"""A broker, a fake hub and a real agent for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.edge_agent.device import DEVICE_ID, Device
from tests.integration.edge_agent.fake_hub import FakeHub
from tests.integration.edge_agent.fleet import Fleet


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def hub(broker: RunningBroker) -> Iterator[FakeHub]:
    hub = FakeHub(broker, DEVICE_ID)
    yield hub
    hub.close()


@pytest.fixture
def device(tmp_path: Path, broker: RunningBroker) -> Iterator[Device]:
    device = Device(tmp_path / "device", broker)
    yield device
    if device.process is not None and device.process.poll() is None:
        device.kill()
    print(device.log())  # noqa: T201 - shown by pytest where the test failed


@pytest.fixture
def fleet(hub: FakeHub, device: Device, tmp_path: Path) -> Fleet:
    device.start()
    return Fleet(hub, device, tmp_path)
