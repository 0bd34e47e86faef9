"""The ports of a hub: kept from one start to the next, and out of the system's own way."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from cloud import ports
from cloud.errors import ConfigurationError


def test_a_chosen_port_is_none_that_an_outgoing_connection_may_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing = tmp_path / "range"
    outgoing.write_text("20003\t60999\n")
    monkeypatch.setattr(ports, "OUTGOING_RANGE", outgoing)
    assert {ports.free_port() for _ in range(50)} <= {20000, 20001, 20002}


@pytest.mark.parametrize("said", ["1024\t65535\n", "", "?"])
def test_where_every_port_may_be_given_away_any_free_one_is_chosen(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing = tmp_path / "range"
    outgoing.write_text(said)
    monkeypatch.setattr(ports, "OUTGOING_RANGE", outgoing)
    assert ports.port_is_free(ports.free_port())


def test_a_port_that_something_listens_on_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", ports.free_port())) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr(ports, "CHOSEN_PORTS", range(taken, taken + 2))
        assert ports.free_port() != taken


def test_the_hub_takes_the_port_that_its_devices_know(tmp_path: Path) -> None:
    first = ports.remembered_port(tmp_path, "mqtt", 0)
    assert ports.remembered_port(tmp_path, "mqtt", 0) == first
    assert json.loads((tmp_path / ports.FILENAME).read_text()) == {"mqtt": first}
    assert ports.remembered_port(tmp_path, "mqtt", 4711) == 4711


def test_a_known_port_that_is_taken_is_named(tmp_path: Path) -> None:
    port = ports.remembered_port(tmp_path, "mqtt", 0)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConfigurationError, match=f"port {port}, which this hub's devices know"),
    ):
        ports.remembered_port(tmp_path, "mqtt", 0)
