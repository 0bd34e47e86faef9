"""Coils of a real Modbus TCP device: in time, right after an outage, refused, hostile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.outputs.channel import Channel
from tests.integration.outputs.lines import line
from tests.integration.outputs.modbus_server import Device, modbus_device
from tests.ports import free_port
from tests.unit.edge_agent.outputs.line_peer import offered, rule, wait_until

pytest.importorskip("pymodbus", reason="argosy[edge-modbus] is not installed")
pytestmark = pytest.mark.integration

COILS = [{"rule": "red", "address": 3}, {"rule": "blue", "address": 4}]


@pytest.fixture
def device() -> Iterator[Device]:
    with modbus_device() as device:
        yield device


def settings(port: int) -> dict[str, Any]:
    return {"type": "modbus", "host": "127.0.0.1", "port": port, "coils": COILS}


def sent(channel: Channel, count: int) -> None:
    wait_until(lambda: channel.counters()["sent"] >= count, f"{count} signals written")


def test_a_coil_shows_whether_its_rule_holds_for_any_camera(device: Device, tmp_path: Path) -> None:
    with line(tmp_path, **settings(device.port)) as channel:
        for camera, active, expected in (
            ("a", True, True),
            ("b", True, True),
            ("a", False, True),
            ("b", False, False),
        ):
            before = channel.counters()["sent"]
            channel.offer(rule("red", active, camera=camera))
            sent(channel, before + 1)
            assert device.coils(3, 4) == [expected, False]


def test_a_short_reject_is_on_the_coil_for_its_frame(device: Device, tmp_path: Path) -> None:
    """Frame by frame: what a frame decides is in the device before the next is offered."""
    with line(tmp_path, **settings(device.port)) as channel:
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        for frame in range(20):
            channel.offer(rule("red", frame % 2 == 0, at=float(frame)))
            sent(channel, frame + 1)
            assert device.coils(3) == [frame % 2 == 0]


def test_a_device_that_was_killed_shows_the_present_state_when_it_is_back(
    device: Device, tmp_path: Path
) -> None:
    with line(tmp_path, **settings(device.port), check_every_s=0.05) as channel:
        channel.offer(rule("red", True))
        channel.offer(rule("blue", True))
        sent(channel, 2)
        device.kill()
        channel.offer(rule("blue", False))
        channel.offer(rule("red", False))
        channel.offer(rule("red", True))
        device.start()
        wait_until(lambda: device.coils(3, 4) == [True, False], "the coils")
        assert offered(channel) == 5


def test_a_device_that_restarts_unasked_gets_its_coils_again(
    device: Device, tmp_path: Path
) -> None:
    with line(tmp_path, **settings(device.port), check_every_s=0.05) as channel:
        channel.offer(rule("red", True))
        sent(channel, 1)
        device.kill()
        device.start()
        wait_until(lambda: device.coils(3) == [True], "the coil, with no new signal")


def test_coils_of_an_earlier_life_are_cleared_and_at_the_end_too(
    device: Device, tmp_path: Path
) -> None:
    device.set(4, True)
    with line(tmp_path, **settings(device.port)) as channel:
        wait_until(lambda: device.coils(4) == [False], "the coil left set")
        channel.offer(rule("red", True))
        sent(channel, 1)
        assert device.coils(3) == [True]
    assert device.coils(3) == [False]


def test_a_pulse_is_cleared_and_an_outage_makes_none_up(device: Device, tmp_path: Path) -> None:
    coils = [{"rule": "red", "address": 3, "pulse_ms": 30}, COILS[1]]
    keys = {**settings(device.port), "coils": coils, "check_every_s": 0.05}
    with line(tmp_path, **keys) as channel:
        channel.offer(rule("red", True))
        sent(channel, 1)
        wait_until(lambda: device.coils(3) == [False], "the end of the pulse")
        device.kill()
        channel.offer(rule("red", False))
        channel.offer(rule("red", True))
        channel.offer(rule("blue", True))
        device.start()
        wait_until(lambda: device.coils(4) == [True], "the other rule")
        assert device.coils(3) == [False], "a late pulse would hit another piece"


def test_the_heartbeat_goes_on(device: Device, tmp_path: Path) -> None:
    keys = {**settings(device.port), "heartbeat_register": 7, "heartbeat_coil": 9}
    with line(tmp_path, **keys, check_every_s=0.02):
        wait_until(lambda: device.register(7) > 3, "the count")
        wait_until(lambda: device.coils(9) == [True], "one beat")
        wait_until(lambda: device.coils(9) == [False], "the next")


def test_the_heartbeat_stands_still_while_a_rule_is_blind(device: Device, tmp_path: Path) -> None:
    blind: set[str] = set()
    asked: list[tuple[str, float]] = []

    def silent(rule: str, after_s: float) -> bool:
        asked.append((rule, after_s))
        return rule in blind

    def looks(count: int) -> None:
        asked.clear()
        wait_until(lambda: len(asked) > len(COILS) * count, f"{count} looks")

    keys = {**settings(device.port), "heartbeat_register": 7, "check_every_s": 0.02}
    with line(tmp_path, site={"silent": silent}, silent_after_s=0.5, **keys) as channel:
        wait_until(lambda: device.register(7) > 3, "the count")
        blind.add("blue")
        looks(2)
        stopped_at = device.register(7)
        looks(5)
        assert device.register(7) == stopped_at
        assert channel.counters()["connections"] == 1
        blind.clear()
        wait_until(lambda: device.register(7) != stopped_at, "it goes on")
    assert {after_s for _, after_s in asked} == {0.5}


def test_a_refused_coil_is_counted_and_the_other_works(device: Device, tmp_path: Path) -> None:
    coils = [{"rule": "red", "address": 5000}, COILS[1]]
    with line(tmp_path, **{**settings(device.port), "coils": coils}) as channel:
        wait_until(lambda: channel.counters().get("connections"), "the connection")
        channel.offer(rule("red", True))
        channel.offer(rule("none", True))
        channel.offer(rule("blue", True))
        wait_until(lambda: device.coils(4) == [True], "the good coil")
        sent(channel, 1)
        assert channel.counters()["failed"] == 2
        assert channel.counters()["connections"] == 1


@pytest.mark.parametrize("answer", [b"", b"\x00" * 4096, b"\xff" * 7, b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_hostile_device_holds_nothing_up(answer: bytes, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", free_port()))
    port = listener.getsockname()[1]
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            if answer:
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    keys = {**settings(port), "queue_max": 10, "timeout_s": 0.2}
    with line(tmp_path, close_s=0.4, **keys) as channel:
        for number in range(1000):
            channel.offer(rule("red", number % 2 == 0))
        wait_until(lambda: channel.counters().get("connections", 0) >= 2, "a second try")
        assert channel.counters()["sent"] == 0
        assert offered(channel) == 1000
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in held:
        connection.close()
