"""Ports on loopback, and the ones that were chosen before.

Devices keep the hub's ports in their configuration, so a port that was chosen by the hub
is taken again at its next start where it is still free. It is chosen below the ports that
the system gives to outgoing connections, any of which could hold it at that start.
"""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from cloud.errors import ConfigurationError
from cloud.files import write_private

LOOPBACK = "127.0.0.1"
FILENAME = "ports.json"
# What clusters hand out as node ports starts where these end.
CHOSEN_PORTS = range(20_000, 30_000)
OUTGOING_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def remembered_port(data_dir: Path, name: str, port: int, host: str = LOOPBACK) -> int:
    """`port`; where that is 0, the one that `name` had the last time, the first time a free one.

    Raises:
        ConfigurationError: that port is taken; devices would look for the hub in vain.
    """
    if port:
        return port
    known = _read(data_dir / FILENAME)
    if name not in known:
        chosen = free_port(host)
        write_private(data_dir / FILENAME, json.dumps({**known, name: chosen}))
        return chosen
    if not port_is_free(known[name], host):
        raise ConfigurationError(
            f"port {known[name]}, which this hub's devices know for {name}, is taken",
            "stop what listens there; or give another and correct it in each agent.toml",
        )
    return known[name]


def free_port(host: str = LOOPBACK) -> int:
    """A port on `host` that nobody listens on now, nor gets for an outgoing connection later.

    Where the system leaves none such, or does not say which it gives away, any free one.
    """
    kept = range(CHOSEN_PORTS.start, min(CHOSEN_PORTS.stop, _first_outgoing()))
    for port in random.sample(kept, len(kept)):
        if port_is_free(port, host):
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _first_outgoing() -> int:
    """The first port that the system gives to outgoing connections; 0 where it does not say."""
    try:
        return int(OUTGOING_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _read(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in content.items() if isinstance(v, int)}
