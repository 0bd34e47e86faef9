"""What tests' own servers listen on: never another process's, at whatever moment."""

from __future__ import annotations

import socket
import subprocess
import sys

from cloud.ports import LOOPBACK
from tests import ports
from tests.conftest import ROOT

TEN = "from tests.ports import free_port; print([free_port() for _ in range(10)])"


def test_processes_at_the_same_time_are_given_other_ports() -> None:
    mine = {ports.free_port() for _ in range(10)}
    other = subprocess.run(
        [sys.executable, "-c", TEN], cwd=ROOT, capture_output=True, text=True, check=True
    )
    theirs = {int(port) for port in other.stdout.strip("[]\n").split(",")}
    assert len(mine) == len(theirs) == 10
    assert not mine & theirs


def test_a_port_that_is_listened_on_is_passed_over() -> None:
    listening = [socket.create_server((LOOPBACK, ports.free_port())) for _ in range(3)]
    try:
        taken = {server.getsockname()[1] for server in listening}
        given = {ports.free_port() for _ in range(ports.BLOCK_PORTS)}
    finally:
        for server in listening:
            server.close()
    assert len(taken) == 3
    assert not taken & given
