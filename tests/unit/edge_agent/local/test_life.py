"""The agent's look at itself, over a real pipeline with a detector that can be held."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from edge_agent.cameras.source import CameraSpec
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.ledger import Ledger
from edge_agent.local.address import read_address
from edge_agent.local.figures import Figures
from edge_agent.local.life import Life, Seen, Told
from edge_agent.local.liveness import StuckError
from edge_agent.local.settings import LocalSection
from edge_agent.local.systemd import Service
from edge_agent.observe.machine import Machine
from edge_agent.pipeline import Pipeline
from edge_agent.update.slot import Slot
from tests.fixtures.seeing import FakeDetector, eventually, from_memory, image, manifest
from tests.unit.edge_agent.local.views import get


class Manager:
    """A service manager that keeps what it is told."""

    def __init__(self) -> None:
        self.address = f"@argosy-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:])
        self._socket.setblocking(False)

    def told(self) -> list[str]:
        """What came since the last call."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    listening = Manager()
    yield listening
    listening.close()


@dataclass
class Agent:
    """A pipeline over one camera of three frames, and the life that looks at it at `now_s`."""

    folder: Path
    address: str
    detector: FakeDetector = field(default_factory=lambda: FakeDetector(hold=threading.Event()))
    now_s: float = 100.0

    def __post_init__(self) -> None:
        slot, figures, ledger = Slot("tiny"), Figures(), Ledger(["cam"])
        slot.exchange(LoadedBundle("a" * 64, manifest(), self.detector))
        camera = CameraSpec("cam", "memory", "tiny")
        self.pipeline = Pipeline(
            [camera],
            {"tiny": slot},
            [figures],
            ledger=ledger,
            clock=Clock(),
            rng=Random(1),
            open_source=from_memory([image()], 3),
        )
        self.life = Life(
            "box-1",
            self.folder,
            LocalSection(port=0),
            Service(self.address, watchdog_s=60),
            seen=Seen(self.pipeline, ledger, {"tiny": slot}, (camera,), figures),
            machine=Machine(time.monotonic),
            clock=Clock(monotonic=lambda: self.now_s),
            told=Told(counters=lambda: {"link_sessions": 1}, link_up=lambda: True),
        )

    def look(self, now_s: float) -> None:
        self.now_s = now_s
        self.life.tick(now_s)

    def let_go(self) -> None:
        if self.detector.hold is not None:
            self.detector.hold.set()


@pytest.fixture
def agent(tmp_path: Path, manager: Manager) -> Iterator[Agent]:
    running = Agent(tmp_path, manager.address)
    running.pipeline.start()
    running.life.start()
    yield running
    running.let_go()
    running.pipeline.stop()
    running.life.stop(10)


def test_the_watchdog_bites_a_hanging_detector_and_no_other(
    tmp_path: Path, manager: Manager, agent: Agent
) -> None:
    told = manager.told()
    assert (told[0], told[-1]) == ("WATCHDOG=1", "READY=1")
    eventually(lambda: agent.detector.running, "the detector hangs")
    for now_s in (110.0, 129.0):
        agent.look(now_s)
        assert "WATCHDOG=1" in manager.told()
    agent.look(130.0)
    told = manager.told()
    assert "WATCHDOG=1" not in told
    assert any(line.endswith("stuck: tiny") for line in told)
    eventually(lambda: read_address(tmp_path), "the pages are open")
    port = int((read_address(tmp_path) or "").rpartition(":")[2])
    assert get(port, "/healthz")[0] == 503
    agent.look(159.0)
    with pytest.raises(StuckError, match="slot tiny: no frame was answered for 60 s"):
        agent.look(160.0)
    agent.let_go()
    eventually(agent.pipeline.ended, "all frames are answered")
    agent.look(1000.0)
    assert "WATCHDOG=1" in manager.told()
    assert get(port, "/healthz")[0] == 200
    status = json.loads(get(port, "/status.json")[1])
    assert status["counters"] == {"link_sessions": 1}
    assert status["cameras"]["cam"]["inferred"] == 3
    agent.now_s = 1030.0
    assert get(port, "/healthz") == (503, b"inference is stuck: the agent's loop\n")
    agent.life.stop(10)
    assert manager.told()[-1] == "STOPPING=1"
