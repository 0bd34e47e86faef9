"""Variables of a real OPC UA server: their types, after an outage, refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.outputs.channel import Channel
from tests.integration.outputs.lines import line
from tests.integration.outputs.opcua_server import UaServer, node, opcua_server
from tests.unit.edge_agent.outputs.line_peer import offered, rule, stock, wait_until

pytest.importorskip("asyncua", reason="argosy[edge-opcua] is not installed")
pytestmark = pytest.mark.integration

REJECT = {"source": "red", "node": node("Reject")}


@pytest.fixture
def server() -> Iterator[UaServer]:
    with opcua_server() as server:
        yield server


def settings(server: UaServer, *nodes: dict[str, str]) -> dict[str, Any]:
    return {"type": "opcua", "url": server.url, "nodes": nodes or (REJECT,), "timeout_s": 5.0}


def settled(channel: Channel, count: int) -> None:
    def done() -> bool:
        counters = channel.counters()
        return counters["sent"] + counters["failed"] >= count

    wait_until(done, f"{count} signals")


def test_each_variable_keeps_its_own_type(server: UaServer, tmp_path: Path) -> None:
    nodes = (
        REJECT,
        {"source": "red", "node": node("RejectWord")},
        {"source": "red", "node": node("Level")},
        {"source": "shelf", "node": node("Count"), "item": "cola"},
        {"source": "shelf", "node": node("Byte"), "item": "cola"},
        {"source": "shelf", "node": node("State"), "item": "cola"},
    )
    with line(tmp_path, **settings(server, *nodes), clear_on_stop=False) as channel:
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        channel.offer(rule("red", True))
        channel.offer(stock("shelf", [("tea", 1, "LOW_STOCK"), ("cola", 300, "IN_STOCK")]))
        channel.offer(stock("shelf", [("cola", None, "UNKNOWN")]))
        settled(channel, 3)
        assert channel.counters()["failed"] == 0
    assert server.read("Reject", "RejectWord", "Level", "Count", "Byte", "State") == [
        ("Boolean", True),
        ("Int16", 1),
        ("Double", 1.0),
        ("UInt32", 300),
        ("Byte", 255),
        ("String", "UNKNOWN"),
    ], "an unknown count leaves the last one: unknown is never 0"


def test_a_server_that_was_killed_shows_the_present_state_when_it_is_back(
    server: UaServer, tmp_path: Path
) -> None:
    nodes = (REJECT, {"source": "blue", "node": node("Other")})
    with line(tmp_path, **settings(server, *nodes), check_every_s=0.1) as channel:
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        channel.offer(rule("red", True))
        settled(channel, 1)
        assert server.values("Reject", "Other") == [True, False], "an earlier life set Other"
        server.kill()
        channel.offer(rule("blue", True))
        channel.offer(rule("blue", False))
        channel.offer(rule("blue", True))
        server.start()
        wait_until(lambda: server.values("Reject", "Other") == [True, True], "both")
        wait_until(lambda: offered(channel) == 4, "the account")


def test_variables_of_rules_are_cleared_at_the_end(server: UaServer, tmp_path: Path) -> None:
    with line(tmp_path, **settings(server)) as channel:
        channel.offer(rule("red", True))
        wait_until(lambda: server.values("Reject") == [True], "the variable")
    assert server.values("Reject") == [False]


def test_a_refused_variable_is_counted_and_the_others_work(
    server: UaServer, tmp_path: Path
) -> None:
    bad = (node("Nowhere"), node("ReadOnly"), node("When"), "ns=9;i=1")
    nodes = [{"source": f"r{n}", "node": name} for n, name in enumerate(bad)]
    with line(tmp_path, **settings(server, *nodes, REJECT)) as channel:
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        for source in ("r0", "r1", "r2", "r3", "not named", "red"):
            channel.offer(rule(source, True))
        settled(channel, 6)
        assert server.values("Reject") == [True]
        counters = channel.counters()
        assert (counters["sent"], counters["failed"], counters["connections"]) == (1, 5, 1)
