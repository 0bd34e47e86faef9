"""A slot that no camera feeds is told to the hub, whatever the slot was before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.states import ExecutionState
from tests.unit.edge_agent.update.slots_rig import Box
from tests.unit.edge_agent.update.updater_rig import wish


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.store.open()
    yield made
    made.die()
    made.store.close()


def told(box: Box) -> list[tuple[str, str, int]]:
    return [(report.slot, report.state.value, report.attempt) for report in box.reports]


NO_ARTIFACT = ExecutionState.NO_ARTIFACT.value


def test_a_slot_that_a_camera_fed_once_is_told_as_any_other(box: Box) -> None:
    """Its transitions have come to a higher number than the desired state's generation."""
    box.numbers["gone"] = 57
    box.start()
    box.desire(12, gone=wish("a"))
    assert told(box) == [("gone", NO_ARTIFACT, 1)]
    assert "no camera of this device feeds the slot gone" in box.reports[0].reason
    assert box.numbers["gone"] == 57, "should a camera feed it again, its transitions count on"


def test_it_is_told_once_and_each_wish_anew(box: Box) -> None:
    box.start()
    for generation in (3, 4):
        box.desire(generation, gone=wish("a"))
        box.tick()
    assert told(box) == [("gone", NO_ARTIFACT, 1)]
    box.start()
    box.desire(3, gone=wish("a"))
    assert len(told(box)) == 1, "as a start takes up what was desired last"
    box.desire(5, gone=wish("a", attempt=2))
    assert told(box)[1:] == [("gone", NO_ARTIFACT, 2)]


def test_what_the_disk_refused_is_told_later(box: Box) -> None:
    box.start()
    box.refuses = True
    box.desire(3, gone=wish("a"))
    box.tick()
    assert told(box) == []
    box.refuses = False
    box.tick()
    box.tick()
    assert told(box) == [("gone", NO_ARTIFACT, 1)]
