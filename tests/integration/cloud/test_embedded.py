"""The hub's own broker dies and comes back; a hub ends while its database refuses."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import psutil
import pytest
from sqlalchemy.exc import OperationalError

from cloud import settings
from cloud.hub import Hub
from protocol.topics import Kind
from tests.integration.brokers import RunningBroker, embedded
from tests.integration.cloud.places import DEADLINE_S, running_hub, wait_until, window, wire

pytestmark = pytest.mark.integration


def test_an_embedded_broker_that_dies_is_started_again(tmp_path: Path) -> None:
    hub = Hub(settings.load(tmp_path, mqtt={"reconnect_delay_max_s": 0.5}))
    hub.start()
    try:
        assert hub.ingress.wait_connected(DEADLINE_S)
        (child,) = [c for c in psutil.Process().children() if "iotcore" in " ".join(c.cmdline())]
        os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: not hub.ingress.connected, "the loss of the link")
        assert hub.ingress.wait_connected(DEADLINE_S)
        with wire(RunningBroker(hub.address.port), Kind.TRUST) as device:
            assert device.heard.get(timeout=DEADLINE_S)[0].kind is Kind.TRUST
    finally:
        hub.stop()


def test_a_hub_ends_also_while_its_database_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk is full"))

    with embedded() as broker:
        with running_hub(tmp_path, broker) as hub, wire(broker) as device:
            monkeypatch.setattr(hub.settings.limits, "ingest_queue_messages_max", 3)
            monkeypatch.setattr(hub.writer, "_store", refuse)
            for sequence in range(1, 4):
                device.publish(Kind.TELEMETRY, window(sequence))
            failures = lambda: hub.counters.snapshot().get("write_failures", 0)  # noqa: E731
            wait_until(failures, "a refusal")
            for sequence in range(4, 12):
                device.publish(Kind.TELEMETRY, window(sequence))
            wait_until(lambda: hub.writer.depth == 3, "a full queue")
        monkeypatch.undo()
        with running_hub(tmp_path, broker) as hub, wire(broker, Kind.ACKS) as device:
            for sequence in range(1, 12):
                device.publish(Kind.TELEMETRY, window(sequence))
            while device.next(Kind.ACKS).acks[0].sequence < 11:
                pass
            assert hub.counters.snapshot()["stored"] == 11
