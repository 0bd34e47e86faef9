"""Channels with real writers, run for a test."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from pydantic import TypeAdapter

from edge_agent.clock import Clock
from edge_agent.outputs.channel import Channel
from edge_agent.outputs.channels import Site, channels
from edge_agent.outputs.settings import AnyChannel
from edge_agent.store import Store
from tests.unit.edge_agent.outputs.line_peer import wait_until

QUICK = {
    "id": "line",
    "timeout_s": 2.0,
    "reconnect_first_s": 0.02,
    "reconnect_cap_s": 0.2,
}
DEVICE = "device-1"


def section(**keys: Any) -> AnyChannel:
    """A channel's table with short waits."""
    made: AnyChannel = TypeAdapter(AnyChannel).validate_python(QUICK | keys)
    return made


@contextmanager
def line(
    folder: Path, close_s: float = 5.0, site: Mapping[str, Any] | None = None, **keys: Any
) -> Iterator[Channel]:
    """A started channel; afterwards it is closed and no thread of its own is left.

    Args:
        site: what the writer is told of the device beyond its name, store and clock.
    """
    before = own_threads()
    store = Store(folder / "data")
    store.open()
    made = channels([section(**keys)], Site(DEVICE, store, Clock(), **(site or {})), Random(5))
    channel = made["line"]
    channel.start()
    try:
        yield channel
    finally:
        channel.close(close_s)
        store.close()
    wait_until(lambda: not own_threads() - before, "the end of its threads")


@contextmanager
def frozen(process: subprocess.Popen[bytes] | None) -> Iterator[None]:
    """A process that neither answers nor goes away."""
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def own_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(("channel-", "opcua-", "paho"))}
