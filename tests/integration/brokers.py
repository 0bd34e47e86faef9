"""Real MQTT brokers for tests, each on a free loopback port, stopped with the test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import lacking
from tests.ports import free_port
from tests.starting import start_process

PAYLOAD_BYTES_MAX = 2 * 1024 * 1024
START_DEADLINE_S = 15.0

RUMQTTD_TOML = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {payload_bytes_max}
    max_inflight_count = 100
"""


def wait_for_port(port: int, deadline_s: float = START_DEADLINE_S) -> None:
    """Return when something accepts connections on `port`. Raises TimeoutError."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port} after {deadline_s} s")


@dataclass
class RunningBroker:
    """Where a broker listens, and the power switch: `stop` and `start` keep the port."""

    port: int
    host: str = "127.0.0.1"
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _embedded: Any = field(default=None, repr=False)
    _command: list[str] = field(default_factory=list, repr=False)
    _log: Path | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """The process's id; of Mosquitto, while it runs."""
        if self._process is None:
            raise RuntimeError("no process of its own runs")
        return self._process.pid

    def start(self) -> None:
        if self._embedded is not None:
            self._embedded.start()
        elif self._log is not None:
            with self._log.open("ab") as log:
                self._process = start_process(self._command, log=log)
        wait_for_port(self.port)

    def stop(self) -> None:
        if self._embedded is not None:
            self._embedded.stop()
        elif self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@contextmanager
def mosquitto(
    tmp_path: Path,
    acl: str | None = None,
    password_file: Path | None = None,
    more: Sequence[str] = (),
) -> Iterator[RunningBroker]:
    """A Mosquitto with its folder under `tmp_path`; `acl` is the text of its rules.

    With neither rules nor passwords anybody may do anything, on loopback. `more` are lines
    of its configuration.
    """
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        lacking("the broker Mosquitto is not installed (apt-get install mosquitto)")
    folder = Path(tempfile.mkdtemp(prefix="mosquitto-", dir=tmp_path))
    port = free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        f"allow_anonymous {'true' if password_file is None else 'false'}",
        "max_queued_messages 100000",
        "max_inflight_messages 1000",
        "user root",
        *more,
    ]
    if password_file is not None:
        lines.append(f"password_file {password_file}")
    if acl is not None:
        (folder / "acl").write_text(acl)
        (folder / "acl").chmod(0o600)
        lines.append(f"acl_file {folder / 'acl'}")
    configuration = folder / "mosquitto.conf"
    configuration.write_text("\n".join(lines) + "\n")
    broker = RunningBroker(
        port, _command=[binary, "-c", str(configuration)], _log=folder / "mosquitto.log"
    )
    with _running(broker):
        yield broker


@contextmanager
def embedded() -> Iterator[RunningBroker]:
    """The hub's own kind of broker (rumqttd inside iotcore), speaking MQTT 5."""
    try:
        from iotcore import Broker
    except ImportError:
        lacking("the embedded broker's package iotcore is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="iotcore-") as folder:
        configuration = Path(folder) / "rumqttd.toml"
        configuration.write_text(
            RUMQTTD_TOML.format(port=port, payload_bytes_max=PAYLOAD_BYTES_MAX)
        )
        broker = RunningBroker(port, _embedded=Broker(config_path=str(configuration)))
        with _running(broker):
            yield broker


@contextmanager
def _running(broker: RunningBroker) -> Iterator[None]:
    broker.start()
    try:
        yield
    finally:
        broker.stop()
