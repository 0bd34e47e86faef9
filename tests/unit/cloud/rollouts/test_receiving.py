"""A batch of devices' words costs as many statements as one word, and moves what it should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from cloud.fleet import changes
from cloud.rollouts.running import receiving
from cloud.telemetry.service import Step
from protocol.messages import ExecutionReport
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts.conftest import MODEL, Hub

S = ExecutionState


@contextmanager
def counted(hub: Hub) -> Iterator[list[str]]:
    """The statements that the database is given meanwhile."""
    statements: list[str] = []

    def note(*given: object) -> None:
        statements.append(str(given[2]))

    event.listen(hub.database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(hub.database.engine, "before_cursor_execute", note)


def word(hub: Hub, device_id: str, state: ExecutionState) -> Step:
    slot = hub.published.desired(device_id)[-1].slots[MODEL]
    report = ExecutionReport(
        rollout_id=slot.rollout_id,
        attempt=slot.attempt,
        slot=MODEL,
        bundle_digest=slot.bundle_digest,
        state=state,
    )
    return Step(device_id, report, hub.now)


def tell(hub: Hub, steps: list[Step]) -> tuple[bool, int]:
    """Whether anything moved, and in how many statements."""
    with counted(hub) as statements, hub.database.transaction() as session:
        moved = receiving.on_executions(session, steps, now=hub.now)
    return moved, len(statements)


@pytest.fixture
def begun(hub: Hub) -> str:
    rollout_id = hub.create()
    hub.settle()
    return rollout_id


def test_many_words_take_as_many_statements_as_one(hub: Hub, begun: str) -> None:
    first, *others = sorted(device_id for device_id, _ in hub.executions(begun))
    assert len(others) >= 2
    moved, one = tell(hub, [word(hub, first, S.DOWNLOADING)])
    assert moved
    moved, many = tell(hub, [word(hub, other, S.DOWNLOADING) for other in others])
    assert (moved, many) == (True, one)
    assert {row.state for row in hub.executions(begun).values()} == {S.DOWNLOADING.value}


def test_the_words_of_one_device_are_taken_in_their_order(hub: Hub, begun: str) -> None:
    device_id, _ = min(hub.executions(begun))
    path = [S.DOWNLOADING, S.DOWNLOADED, S.VERIFIED, S.PROVING, S.PROVING, S.DOWNLOADED]
    assert tell(hub, [word(hub, device_id, state) for state in path])[0]
    assert hub.executions(begun)[device_id, 1].state == S.PROVING.value
    with hub.database.reading() as session:
        assert changes.changed_of(session, [device_id])[device_id] >= 1


def test_what_names_no_execution_moves_nothing(hub: Hub, begun: str) -> None:
    device_id, _ = min(hub.executions(begun))
    known = word(hub, device_id, S.DOWNLOADING)
    strangers = [
        known._replace(report=known.report.model_copy(update={"rollout_id": None})),
        known._replace(report=known.report.model_copy(update={"attempt": 9})),
        known._replace(report=known.report.model_copy(update={"bundle_digest": "0" * 64})),
        known._replace(device_id="nobody"),
    ]
    with hub.database.transaction() as session:
        assert receiving.on_executions(session, strangers, now=hub.now) is False
    assert hub.executions(begun)[device_id, 1].state == S.QUEUED.value
