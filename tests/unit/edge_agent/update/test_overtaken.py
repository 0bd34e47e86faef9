"""Loading takes a while: what came meanwhile is asked before another bundle takes over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.detect.bundle import LoadedBundle
from edge_agent.errors import DetectorError
from edge_agent.update.by_hand import BY_A_PERSON, LEFT_REVOKED, WHOLE_AGAIN, ReturnEnded, Turn
from edge_agent.update.floors import Floor, Floors
from edge_agent.update.states import Committed
from tests.unit.edge_agent.update.slots_rig import Box
from tests.unit.edge_agent.update.updater_rig import wish

TURNS = [WHOLE_AGAIN, Turn(LEFT_REVOKED, "v9 is revoked"), BY_A_PERSON]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    made.store.open()
    yield made
    made.die()
    made.store.close()


def stand_in(box: Box) -> tuple[str, str]:
    """Version 1 stands in for version 2, which was committed and is whole again; their digests."""
    first, second = box.place(1), box.place(2)
    box.commit("line", second, first)
    box.bundles.set_aside(second)
    box.start()
    assert box.serves() == first
    box.place(2)
    return first, second


def ended(box: Box) -> LoadedBundle:
    """What is loaded when the turn's load has come to its end."""
    while box.jobs:
        box.jobs.pop(0)()
    (found,) = [item for item in box.inbox if isinstance(item, ReturnEnded)]
    assert found.loaded is not None, found.reason
    return found.loaded


def test_what_was_committed_comes_back_where_nothing_came_meanwhile(box: Box) -> None:
    _, second = stand_in(box)
    box.tick()
    box.work()
    assert box.serves() == second
    assert box.names() == ["serves_again"]


def test_an_attempt_that_is_over_by_then_keeps_what_it_brought(box: Box) -> None:
    """The hub desired the very stand-in, which serves already: its attempt is over at once."""
    first, second = stand_in(box)
    box.tick()
    box.desire(1, line=wish("a").model_copy(update={"bundle_digest": first}))
    assert box.committed().digest == first
    box.work()
    assert box.serves() == first, "nothing would have brought it back"
    assert box.committed() == Committed(digest=first, previous_digest=second)
    assert box.names() == [], "what was dropped is nobody's concern"


@pytest.mark.parametrize("turn", TURNS)
def test_a_floor_that_came_meanwhile_counts(box: Box, turn: Turn) -> None:
    first, second = box.place(1), box.place(2)
    box.commit("line", second, first)
    box.start()
    before = box.committed()
    back = box.updates._units["line"].back
    back.turn_to(first, turn)
    box.updates._floors = Floors(models={"tiny": Floor(version=2, generation=1)})
    loaded = ended(box)
    box.work()
    assert box.serves() == second
    assert box.committed() == before
    assert not back.under_way
    assert box.names() == (["rollback_refused"] if turn is BY_A_PERSON else [])
    with pytest.raises(DetectorError):
        loaded.detector.infer(None)  # type: ignore[arg-type]


def test_a_turn_off_what_is_revoked_no_more_is_dropped(box: Box) -> None:
    first, second = box.place(1), box.place(2)
    box.commit("line", second, first)
    box.start()
    back = box.updates._units["line"].back
    box.updates._floors = Floors(models={"tiny": Floor(version=3, generation=1)})
    back.turn_to(first, Turn(LEFT_REVOKED, "v2 is revoked"))
    box.updates._floors = Floors(models={"tiny": Floor(version=1, generation=2)})
    box.work()
    assert box.serves() == second
