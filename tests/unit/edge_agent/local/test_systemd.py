"""The notify protocol against a real socket, and what keeps the watchdog quiet."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.local.liveness import Liveness, SlotProgress
from edge_agent.local.systemd import Service


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(30)
        yield listener


@pytest.mark.parametrize("is_abstract", [True, False])
def test_systemd_is_told(tmp_path: Path, is_abstract: bool) -> None:
    address = f"@argosy-{secrets.token_hex(8)}" if is_abstract else str(tmp_path / "notify")
    with manager(address) as listener:
        service = Service.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"})
        assert service.watchdog_s == 60
        service.ready()
        service.alive()
        service.status("2 of 2\ncameras")
        service.stopping()
        told = [listener.recv(4096) for _ in range(4)]
    assert told == [b"READY=1", b"WATCHDOG=1", b"STATUS=2 of 2 cameras", b"STOPPING=1"]


def test_without_a_service_manager_nothing_is_told() -> None:
    assert Service.of({}) == Service()
    Service().ready()
    Service.of({"NOTIFY_SOCKET": "/no/such/socket"}).ready()


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_only_the_process_that_is_watched_is_watched(
    environment: dict[str, str], watchdog_s: float | None
) -> None:
    assert Service.of({"NOTIFY_SOCKET": "@x", **environment}).watchdog_s == watchdog_s
    assert Service.of(environment).watchdog_s is None


def looks(*progress: SlotProgress) -> list[bool]:
    """Whether the slot is stuck at each look, ten seconds apart."""
    liveness = Liveness(stuck_after_s=30)
    return [bool(liveness.stuck({"s": p}, 10.0 * i)) for i, p in enumerate(progress)]


def test_a_thread_that_hangs_is_noticed() -> None:
    moving = [SlotProgress(True, 2, answered) for answered in range(3)]
    hanging = [SlotProgress(True, 2, 3)] * 5
    assert looks(*moving, *hanging) == [False] * 6 + [True] * 2


def test_a_camera_that_is_offline_is_no_reason() -> None:
    assert not any(looks(*[SlotProgress(True, 0, 3)] * 9))


def test_frames_that_wait_for_a_first_model_are_no_reason() -> None:
    assert not any(looks(*[SlotProgress(False, 4, 0)] * 9))


def test_after_a_quiet_time_the_count_begins_anew() -> None:
    quiet, busy = [SlotProgress(True, 0, 3)] * 5, [SlotProgress(True, 1, 3)] * 3
    assert looks(*quiet, *busy) == [False] * 7 + [True]


def test_one_slot_that_hangs_is_enough() -> None:
    liveness = Liveness(stuck_after_s=30)
    for now in (0.0, 30.0):
        slots = {"good": SlotProgress(True, 1, int(now)), "bad": SlotProgress(True, 1, 7)}
        found = liveness.stuck(slots, now)
    assert found == ("bad",)
