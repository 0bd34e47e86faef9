"""The engine's loop: it looks by itself, and at once when a report moved something."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cloud.rollouts.engine import Engine
from cloud.telemetry.service import Step
from protocol.messages import ExecutionReport
from protocol.states import ExecutionState
from protocol.topics import Topic
from tests.unit.cloud.rollouts.conftest import DIGESTS, MODEL, Hub

DEADLINE_S = 20.0
ONLY_WHEN_WOKEN_S = 3600.0


class Waiting:
    """Takes the place of the broker's link and tells when a device was spoken to."""

    def __init__(self) -> None:
        self.messages: list[tuple[Topic, bytes]] = []
        self.changed = threading.Condition()

    def publish(self, topic: Topic, payload: bytes) -> None:
        with self.changed:
            self.messages.append((topic, payload))
            self.changed.notify_all()

    def wait_for(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.messages) >= count, DEADLINE_S)


@pytest.fixture
def told(hub: Hub) -> Waiting:
    waiting = Waiting()
    hub.database.publisher = waiting
    return waiting


@pytest.fixture
def engine(hub: Hub) -> Iterator[Engine]:
    engine = Engine(hub.database, ONLY_WHEN_WOKEN_S)
    yield engine
    engine.stop()


def test_it_looks_when_started_and_again_when_a_report_comes(
    hub: Hub, told: Waiting, engine: Engine
) -> None:
    rollout_id = hub.create(waves=[{"count": 1}])
    engine.start()
    assert told.wait_for(1)
    (first,) = [key[0] for key, row in hub.executions(rollout_id).items() if row.started_at]
    report = ExecutionReport(
        rollout_id=rollout_id,
        attempt=1,
        slot=MODEL,
        bundle_digest=DIGESTS[1],
        state=ExecutionState.SUCCEEDED,
    )

    with hub.database.transaction() as session:
        engine.on_executions(session, [Step(first, report, hub.now)])

    assert told.wait_for(6), "the next wave was not started"


def test_a_report_that_moves_nothing_wakes_nobody(hub: Hub, engine: Engine) -> None:
    report = ExecutionReport(
        rollout_id="unknown",
        attempt=1,
        slot=MODEL,
        bundle_digest=DIGESTS[1],
        state=ExecutionState.SUCCEEDED,
    )
    woken: list[bool] = []
    engine.loop.wake = lambda: woken.append(True)  # type: ignore[method-assign]

    with hub.database.transaction() as session:
        engine.on_executions(session, [Step("dev-0", report, hub.now)])

    assert woken == []
