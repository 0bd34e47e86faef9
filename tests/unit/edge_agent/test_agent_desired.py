"""What is desired is kept, however long the disk refuses it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from edge_agent.agent import Agent
from edge_agent.clock import Clock
from edge_agent.link.mqtt import Inbound
from edge_agent.report import DesiredState
from edge_agent.store import StateFile, Store
from protocol.messages import Desired
from protocol.topics import Kind, Topic
from tests.fixtures.seeing import eventually
from tests.unit.edge_agent.test_agent_parts import config


class Disk:
    """Refuses the desired state as long as it is told to, and counts how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuses, self.refused = False, 0
        save = Store.save

        def kept(store: Store, name: str, state: StateFile) -> None:
            if self.refuses and name == "desired":
                self.refused += 1
                raise OSError(errno.EIO, "Input/output error")
            save(store, name, state)

        monkeypatch.setattr(Store, "save", kept)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def agent(tmp_path: Path, disk: Disk) -> Iterator[Agent]:
    agent = Agent(config(tmp_path), Clock(), Random(1))
    thread = threading.Thread(target=agent.run)
    thread.start()
    yield agent
    agent.stop()
    thread.join(30)


def desire(agent: Agent, generation: int) -> None:
    message = Desired(device_id="d", generation=generation)
    agent._inbox.put(Inbound(Topic(Kind.DESIRED, "d"), message))
    eventually(lambda: agent._generation == generation, "it is followed")


def kept(agent: Agent) -> int:
    found = agent._store.load("desired", DesiredState)
    return 0 if found is None else found.desired.generation


def test_what_the_disk_refused_once_is_kept_later_and_told_of_once(
    agent: Agent, disk: Disk
) -> None:
    desire(agent, 1)
    assert kept(agent) == 1
    disk.refuses = True
    with capture_logs() as logs:
        desire(agent, 2)
        eventually(lambda: disk.refused >= 3, "it is tried again")
    told = [e for e in logs if e["event"] == "desired_not_persisted"]
    assert [entry["log_level"] for entry in told].count("warning") == 1
    assert kept(agent) == 1
    disk.refuses = False
    eventually(lambda: kept(agent) == 2, "it is kept")


def test_the_newest_is_kept_where_several_were_refused(agent: Agent, disk: Disk) -> None:
    disk.refuses = True
    desire(agent, 4)
    desire(agent, 5)
    disk.refuses = False
    eventually(lambda: kept(agent) == 5, "the newest is kept")
    disk.refuses = True
    desire(agent, 6)
    disk.refuses = False
    desire(agent, 7)
    eventually(lambda: kept(agent) == 7, "the newest is kept")
