"""The engine's loop: it looks by itself, and at once when a report moved something."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlmodel import Session

from cloud.rollouts import queries, service
from cloud.rollouts.journal import BY_ENGINE, note
from cloud.rollouts.models import Rollout, RolloutGate
from cloud.rollouts.running.engine import Engine
from cloud.telemetry.service import Step
from protocol.messages import ExecutionReport
from protocol.states import ExecutionState, Verdict
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
        engine.on_words(session, [Step(first, report, hub.now)])

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
        engine.on_words(session, [Step("dev-0", report, hub.now)])

    assert woken == []


GATED = {"waves": [{"count": 2}], "gates": {"every_s": 30, "deadline_s": 100, "on_fail": "revert"}}


class Gate:
    """Stands where the statistics do: answers what a test says, and keeps it as they do."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.asked: list[tuple[int, bool]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(
        self, session: Session, rollout: Rollout, wave: int, *, settled: bool, now: float
    ) -> RolloutGate:
        self.asked.append((wave, settled))
        self.meanwhile()
        last = queries.last_gate(session, rollout.id, wave)
        row = RolloutGate(
            rollout_id=rollout.id, wave=wave, look=last.look + 1 if last else 1, at=now,
            settled=settled, verdict=self.verdict.value, reason="as the test says", figures={},
        )  # fmt: skip
        session.add(row)
        note(session, rollout, "gate", by=BY_ENGINE, now=now, wave=wave, text=row.verdict)
        return row


def gated(hub: Hub, verdict: Verdict, **asked: Any) -> tuple[Gate, str]:
    """A rollout whose first wave is done on all its devices."""
    gate = Gate(verdict)
    hub.engine = Engine(hub.database, 1.0, gate)
    rollout_id = hub.create(**{**GATED, **asked})
    hub.settle()
    for (device_id, _), row in hub.executions(rollout_id).items():
        if row.started_at is not None:
            hub.succeed(device_id)
    hub.settle()
    return gate, rollout_id


def started(hub: Hub, rollout_id: str) -> int:
    return sum(row.started_at is not None for row in hub.executions(rollout_id).values())


def test_a_wave_goes_on_where_its_gate_says_pass(hub: Hub) -> None:
    gate, rollout_id = gated(hub, Verdict.PASS)
    assert gate.asked == [(0, True)]
    assert started(hub, rollout_id) == 6


def test_a_gate_that_says_fail_takes_the_rollout_back(hub: Hub) -> None:
    _, rollout_id = gated(hub, Verdict.FAIL)
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.reverting) == ("STOPPED", True)
    assert "its gate says FAIL: as the test says" in rollout.reason
    assert started(hub, rollout_id) == 2


def test_a_gate_without_a_verdict_is_looked_at_again_and_then_a_person_is_asked(hub: Hub) -> None:
    gate, rollout_id = gated(hub, Verdict.INCONCLUSIVE)
    hub.settle(29)
    assert len(gate.asked) == 1
    hub.settle(1)
    assert len(gate.asked) == 2
    assert hub.rollout(rollout_id).asks is None
    for _ in range(3):
        hub.settle(30)
    assert hub.rollout(rollout_id).asks == "GATE"
    assert started(hub, rollout_id) == 2

    hub.call(service.approve, rollout_id)
    hub.settle()
    assert started(hub, rollout_id) == 6


def test_a_look_is_thrown_away_where_a_person_was_faster(hub: Hub) -> None:
    gate = Gate(Verdict.FAIL)
    hub.engine = Engine(hub.database, 1.0, gate)
    rollout_id = hub.create(**GATED)
    hub.settle()
    gate.meanwhile = lambda: hub.call(service.pause, rollout_id)
    for (device_id, _), row in hub.executions(rollout_id).items():
        if row.started_at is not None:
            hub.succeed(device_id)
    hub.settle()
    with hub.database.reading() as session:
        assert queries.last_gate(session, rollout_id, 0) is None
    assert hub.rollout(rollout_id).state == "PAUSED"


def test_a_second_look_may_overwrite_the_first(hub: Hub) -> None:
    """Looks that find the same are kept as one row that is changed."""

    class Changes(Gate):
        def __call__(
            self, session: Session, rollout: Rollout, wave: int, *, settled: bool, now: float
        ) -> RolloutGate:
            last = queries.last_gate(session, rollout.id, wave)
            if last is None:
                return super().__call__(session, rollout, wave, settled=settled, now=now)
            last.at, last.figures = now, {"frames": 7}
            session.add(last)
            return last

    gate = Changes(Verdict.INCONCLUSIVE)
    hub.engine = Engine(hub.database, 1.0, gate)
    rollout_id = hub.create(**GATED)
    hub.settle()
    for (device_id, _), row in hub.executions(rollout_id).items():
        if row.started_at is not None:
            hub.succeed(device_id)
    hub.settle()
    hub.settle(31)
    with hub.database.reading() as session:
        kept = queries.last_gate(session, rollout_id, 0)
    assert kept is not None
    assert (kept.look, kept.at, kept.figures) == (1, hub.now, {"frames": 7})


def test_cameras_that_have_shown_nothing_abort_nothing(hub: Hub) -> None:
    """With the gate's own statistics: a night without telemetry ends with a question."""
    rollout_id = hub.create(**GATED)
    hub.settle()
    for (device_id, _), row in hub.executions(rollout_id).items():
        if row.started_at is not None:
            hub.succeed(device_id)
    for _ in range(8):
        hub.settle(31)
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.asks, rollout.wave) == ("RUNNING", "GATE", 0)
    with hub.database.reading() as session:
        looks = queries.looks_at_gate(session, rollout_id, 0)
        assert {one.verdict for one in looks} == {"INCONCLUSIVE"}
        assert looks[-1].at > hub.now - 31
