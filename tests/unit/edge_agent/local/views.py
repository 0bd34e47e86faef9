"""A view of an agent that tests set by hand, and a server that shows it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.ledger import Account
from edge_agent.local.address import read_address
from edge_agent.local.figures import Figures
from edge_agent.local.server import LocalServer
from edge_agent.local.settings import LocalSection
from edge_agent.local.view import View, Zone
from edge_agent.results import FrameResult
from edge_agent.update.requests import Answer
from protocol.messages import CameraReported, Health
from protocol.states import CameraState
from tests.fixtures.seeing import eventually, fake_bundle

ACCOUNT = Account(captured=10, inferred=6, dropped={"superseded": 3}, unreadable=2)


@dataclass
class Told:
    """What the view says, to be changed while it is shown."""

    results: dict[str, FrameResult] = field(default_factory=dict)
    looks: int = 0
    stuck: tuple[str, ...] = ()
    bundle: LoadedBundle | None = field(default_factory=fake_bundle)
    health: Health = field(default_factory=lambda: Health(gpu_percent=0.0))
    account: Account = ACCOUNT
    counters: dict[str, int] = field(default_factory=dict)
    zones: tuple[Zone, ...] = ()
    figures: Figures = field(default_factory=Figures)
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)
    hold: Callable[[str], Answer] | None = None

    def latest(self, camera: str) -> FrameResult | None:
        self.looks += 1
        return self.results.get(camera)

    def view(self) -> View:
        states = {"cam": CameraState.STREAMING, "dark": CameraState.BACKING_OFF}
        return View(
            device="box-1",
            version="1.2.3",
            cameras=lambda: {n: CameraReported(state=s, slot="tiny") for n, s in states.items()},
            account=lambda _camera: self.account,
            figures=lambda camera: self.figures.of(camera, 1001.0),
            slots=lambda: {"tiny": self.bundle},
            latest=self.latest,
            errors=lambda: {"tiny": "fails <on> purpose"},
            counters=lambda: self.counters,
            health=lambda: self.health,
            stuck=lambda: self.stuck,
            link_up=lambda: False,
            channels=lambda: {"plc": {"sent": 4, "dropped": 0}, "mes": {"sent": 1}},
            problems=lambda: {"mes": "the broker is away"},
            lost_classes=lambda: {"reject": ("scratch",)},
            zones=lambda _camera: self.zones,
            updates=lambda: self.updates,
            hold=self.hold,
        )


@contextmanager
def serving(told: Told, folder: Path, settings: LocalSection | None = None) -> Iterator[int]:
    """The port of a server that shows `told`."""
    server = LocalServer(settings or LocalSection(port=0), folder, told.view(), retry_s=0.05)
    server.start()
    try:
        eventually(lambda: read_address(folder), "the pages are open")
        yield int((read_address(folder) or "").rpartition(":")[2])
    finally:
        server.stop(10)


def ask(port: int, head: str) -> tuple[int, bytes]:
    """The status and all bytes that come back for the raw request `head`."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head.encode("latin-1"))
        found = bytearray()
        while piece := client.recv(65536):
            found += piece
    return (int(found.split(None, 2)[1]) if found else 0), bytes(found)


def get(port: int, path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, bytes]:
    """Status and body."""
    status, found = ask(port, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    return status, found.partition(b"\r\n\r\n")[2]
