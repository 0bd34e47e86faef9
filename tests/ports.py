"""Ports for the servers that tests start, which nobody else takes before they do.

A server may take seconds from the choice of its port to listening on it, and stops and
starts again on the same one. A port that the system had picked could be another test's
outgoing connection by then. So each process of tests claims a block of ports that no system
gives away by default and that the hub does not choose from, and hands them out in turn.
"""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Iterator

from cloud.ports import CHOSEN_PORTS, LOOPBACK, port_is_free

# Below those that the hub chooses from.
PORTS = range(10_000, CHOSEN_PORTS.start)
BLOCK_PORTS = 100


def free_port() -> int:
    """A loopback port that nobody listens on, and that no other test gets."""
    for port in itertools.islice(_turns(), BLOCK_PORTS):
        if port_is_free(port):
            return port
    raise RuntimeError(f"all {BLOCK_PORTS} ports of this process are taken")


@functools.cache
def _turns() -> Iterator[int]:
    claim = _claim()
    first = int(claim.getsockname()[1]) + 1
    return _around(claim, range(first, first + BLOCK_PORTS - 1))


def _around(claim: socket.socket, ports: range) -> Iterator[int]:
    """`ports`, over and over; `claim` stays open for as long as they are handed out."""
    with claim:
        yield from itertools.cycle(ports)


def _claim() -> socket.socket:
    """A socket on the first port of a block that no other process has claimed."""
    for first in PORTS[::BLOCK_PORTS]:
        claim = socket.socket()
        try:
            claim.bind((LOOPBACK, first))
        except OSError:
            claim.close()
            continue
        return claim
    raise RuntimeError(f"every block of {BLOCK_PORTS} ports in {PORTS} is claimed")
