"""Where the broker is: an embedded one, started here, or an external one by its URL."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloud.errors import ConfigurationError
from cloud.files import write_private
from cloud.ports import LOOPBACK
from cloud.settings import MqttSettings

if TYPE_CHECKING:
    from iotcore import Broker

log = logging.getLogger(__name__)

PORTS = {"mqtt": 1883, "mqtts": 8883}
START_S_MAX = 20.0

_TOML = """\
# Written by the hub at every start.
id = 0

[router]
id = 0
max_connections = {connections_max}
max_outgoing_packet_count = 200
max_segment_size = {segment_bytes_max}
max_segment_count = 10

[v5.1]
name = "v5-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = {payload_bytes_max}
    max_inflight_count = {inflight_messages_max}
"""
SEGMENT_BYTES_MAX = 100 * 1024 * 1024


@dataclass(frozen=True)
class BrokerAddress:
    """Where clients connect."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_url(url: str) -> BrokerAddress:
    """The address that mqtt://host[:port] or mqtts://host[:port] names.

    Raises:
        ConfigurationError: it is no such URL.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in PORTS or not parts.hostname or port == -1 or parts.username:
        raise ConfigurationError(
            f"mqtt.url {url!r} is no broker's address",
            "write mqtt://host:port, mqtts://host:port or embedded; user and password are "
            "settings of their own",
        )
    return BrokerAddress(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts")


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """A child that is started meanwhile never hears Ctrl-C, which is meant for the hub alone.

    It inherits this thread's mask; what comes meanwhile waits for the hub.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class EmbeddedBroker:
    """rumqttd in a child process, on loopback, speaking MQTT 5. It forgets all at its end.

    The child exits by itself when the hub is gone.
    """

    def __init__(self, settings: MqttSettings, data_dir: Path, port: int) -> None:
        self.address = BrokerAddress(LOOPBACK, port)
        self._config = data_dir / "broker.toml"
        self._settings = settings
        self._broker: Broker | None = None

    def start(self) -> None:
        """Return when it accepts connections.

        Raises:
            ConfigurationError: the port is taken, or it does not come up.
        """
        from iotcore import Broker  # a library of 14 MB that commands do not need

        text = _TOML.format(
            host=self.address.host,
            port=self.address.port,
            connections_max=self._settings.connections_max,
            payload_bytes_max=self._settings.payload_bytes_max,
            inflight_messages_max=self._settings.inflight_messages_max,
            segment_bytes_max=SEGMENT_BYTES_MAX,
        )
        write_private(self._config, text)
        broker = Broker(config_path=str(self._config))
        try:
            with _deaf_to_interrupts():
                broker.start(START_S_MAX)
        except OSError as error:
            raise ConfigurationError(
                f"the embedded broker cannot listen on port {self.address.port}: {error}",
                "stop what listens there, or choose another with --mqtt-port",
            ) from error
        except RuntimeError as error:
            raise ConfigurationError(
                f"the embedded broker did not start: {error}", "see its output above"
            ) from error
        self._broker = broker

    def ensure(self) -> None:
        """Start it again where it has died. Raises as `start` does."""
        if self._broker is not None and not self._broker.is_running:
            log.error("the embedded broker died; starting it again")
            self.start()

    def stop(self) -> None:
        if self._broker is not None:
            self._broker.stop()
            self._broker = None
