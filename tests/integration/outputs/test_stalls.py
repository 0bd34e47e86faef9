"""Other ends that neither answer nor go away: offering never waits, and nothing grows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.brokers import mosquitto
from tests.integration.outputs.lines import frozen, line
from tests.integration.outputs.listener import listening
from tests.integration.outputs.modbus_server import modbus_device
from tests.integration.outputs.opcua_server import node, opcua_server
from tests.unit.edge_agent.outputs.line_peer import offered, rule, wait_until

pytestmark = pytest.mark.integration

OFFERS = 5000
End = tuple[dict[str, Any], Any]


@contextmanager
def modbus(_folder: Path) -> Iterator[End]:
    pytest.importorskip("pymodbus", reason="argosy[edge-modbus] is not installed")
    with modbus_device() as device:
        coils = [{"rule": "red", "address": 3}]
        yield {"type": "modbus", "host": "127.0.0.1", "port": device.port, "coils": coils}, device


@contextmanager
def opcua(_folder: Path) -> Iterator[End]:
    pytest.importorskip("asyncua", reason="argosy[edge-opcua] is not installed")
    with opcua_server() as server:
        nodes = [{"source": "red", "node": node("Reject")}]
        yield {"type": "opcua", "url": server.url, "nodes": nodes}, server


@contextmanager
def broker(folder: Path, **keys: Any) -> Iterator[End]:
    with mosquitto(folder) as running:
        yield {"host": "127.0.0.1", "port": running.port, **keys}, running


def mqtt(folder: Path) -> Any:
    return broker(folder, type="mqtt", qos=0)


def sparkplug(folder: Path) -> Any:
    pytest.importorskip("google.protobuf", reason="argosy[edge-sparkplug] is not installed")
    return broker(folder, type="sparkplug", group="line", edge_node="box")


def process_of(end: Any) -> Any:
    return getattr(end, "process", None) or end._process


@pytest.mark.parametrize("kind", [modbus, opcua, mqtt, sparkplug])
def test_an_end_that_stalls_holds_nothing_up(kind: Any, tmp_path: Path) -> None:
    with kind(tmp_path) as (keys, end):
        times = {"timeout_s": 0.5, "queue_max": 20}
        with line(tmp_path, **keys | times) as channel:
            wait_until(lambda: channel.counters().get("connections"), "the connection")
            with frozen(process_of(end)):
                for number in range(OFFERS):
                    channel.offer(rule("red", number % 2 == 0, at=float(number)))
                counters = channel.counters()
                assert counters["waiting"] <= 21
                assert offered(channel) == OFFERS
            wait_until(lambda: channel.counters()["waiting"] == 0, "the last ones told")
            assert offered(channel) == OFFERS


def test_a_channel_can_be_closed_before_an_end_that_stalls(tmp_path: Path) -> None:
    with broker(tmp_path, type="mqtt") as (keys, end), frozen(process_of(end)):
        with line(tmp_path, close_s=0.2, **keys | {"timeout_s": 0.5}) as channel:
            channel.offer(rule("red", True))
        assert channel.counters()["dropped_stopped"] == 1


def test_a_broker_that_stalled_shows_the_last_state(tmp_path: Path) -> None:
    with (
        broker(tmp_path, type="mqtt") as (keys, end),
        line(tmp_path, **keys | {"timeout_s": 0.5, "queue_max": 3}) as channel,
    ):
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        with frozen(process_of(end)):
            for number in range(101):
                channel.offer(rule("red", number % 2 == 0, at=float(number)))
        with listening(end, "argosy-line/+/rule/red/cam") as listener:
            wait_until(
                lambda: listener.heard and b'"at":100.0' in listener.heard[-1].payload, "the last"
            )
