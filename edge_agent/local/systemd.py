"""systemd's side of the agent's life: ready, what it does, and the watchdog.

The whole protocol is a datagram of KEY=value lines to a Unix socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

STATUS_LENGTH_MAX = 512

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Service:
    """The service manager that started the agent; without one nothing is told.

    Attributes:
        address: of its socket; "@" begins an abstract one.
        watchdog_s: how long it waits for `alive` before it ends the agent; None where it
            does not watch.
    """

    address: str | None = None
    watchdog_s: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Service:
        """What the process's environment says."""
        address = environment.get("NOTIFY_SOCKET") or None
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = environment.get("WATCHDOG_USEC", "")
        has_watchdog = address is not None and watched and microseconds.isdecimal()
        return cls(address, int(microseconds) / 1e6 if has_watchdog else None)

    def ready(self) -> None:
        """Serving has begun."""
        self._tell("READY=1")

    def alive(self) -> None:
        """Put off the watchdog, where there is one."""
        if self.watchdog_s is not None:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell("STATUS=" + " ".join(text.split())[:STATUS_LENGTH_MAX])

    def _tell(self, message: str) -> None:
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except OSError as error:
            log.warning("service_manager_not_told", message=message, error=str(error))
