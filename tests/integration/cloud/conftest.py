"""Both kinds of broker that the hub is meant for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.hub import Hub
from tests.integration.brokers import RunningBroker, embedded, mosquitto
from tests.integration.cloud.places import running_hub


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBroker]:
    with mosquitto(tmp_path) if request.param == "mosquitto" else embedded() as running:
        yield running


@pytest.fixture
def hub(broker: RunningBroker, tmp_path: Path) -> Iterator[Hub]:
    with running_hub(tmp_path / "hub", broker) as running:
        yield running
