"""From a frame's detections through rules and shelves to real ends of the line."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import pytest

from edge_agent.clock import Clock
from edge_agent.outputs.channel import Channel
from edge_agent.outputs.line import LineSink
from edge_agent.rules.settings import ItemSection, RuleSection, ShelfSection
from tests.fixtures.seeing import detections, result
from tests.integration.brokers import mosquitto
from tests.integration.outputs.lines import line
from tests.integration.outputs.listener import listening
from tests.integration.outputs.modbus_server import modbus_device
from tests.unit.edge_agent.outputs.line_peer import wait_until

pytestmark = pytest.mark.integration

REJECT = RuleSection(id="reject", channels=("line",), classes=("class 0",))
SHELF = ShelfSection(
    id="shelf",
    camera="cam",
    channels=("line",),
    items={"class 0": ItemSection(low=1)},
    smooth_s=0.01,
    frames_min=1,
)


def told(channel: Channel, count: int) -> bool:
    return channel.counters()["sent"] == count


def test_a_frame_sets_the_coil_before_the_next_is_taken(tmp_path: Path) -> None:
    """The rule wants one frame: the coil follows every single one of them."""
    pytest.importorskip("pymodbus", reason="argosy[edge-modbus] is not installed")
    coils = [{"rule": "reject", "address": 3}]
    with (
        modbus_device() as device,
        line(tmp_path, type="modbus", host="127.0.0.1", port=device.port, coils=coils) as channel,
    ):
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        sink = LineSink((REJECT,), (), (channel,))
        for frame in range(20):
            bad = frame % 2 == 0
            seen = detections((0.9, 0)) if bad else detections()
            sink.take(result(seen, index=frame))
            wait_until(partial(told, channel, frame + 1), "the coil")
            assert device.coils(3) == [bad]


def test_a_rule_and_its_frame_are_on_the_broker(tmp_path: Path) -> None:
    with (
        mosquitto(tmp_path) as broker,
        listening(broker, "#") as listener,
        line(tmp_path, type="mqtt", host=broker.host, port=broker.port, detections=True) as out,
    ):
        wait_until(lambda: out.counters().get("connections"), "the connection")
        sink = LineSink((REJECT,), (), (out,))
        sink.take(result(detections((0.9, 0)), index=7))
        wait_until(lambda: out.counters()["sent"] == 2, "both signals")
        wait_until(lambda: len(listener.heard) == 3, "them and the status")
        assert [h.topic.split("/", 2)[2] for h in listener.heard] == [
            "status",
            "rule/reject/cam",
            "detections/cam",
        ]


def test_a_shelf_is_a_row_of_the_feed(tmp_path: Path) -> None:
    path = tmp_path / "stock.csv"
    with line(tmp_path, type="csv", path=path) as out:
        sink = LineSink((), (SHELF,), (out,), Clock(lambda: 1000.0, lambda: 1000.0))
        for index in range(5):
            two = detections((0.9, 0), (0.9, 0))
            sink.take(result(two, index=index, at_s=1000.0 + index * SHELF.smooth_s))
        wait_until(lambda: out.counters()["sent"] >= 1, "a row")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[-1]["shelf"], rows[-1]["class"], rows[-1]["count"]) == ("shelf", "class 0", "2")
    assert rows[-1]["state"] == "IN_STOCK"
