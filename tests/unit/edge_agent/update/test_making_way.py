"""What serves and should not makes way, as soon as it may and as often as it takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.update.by_hand import WHOLE_AGAIN, Turn
from edge_agent.update.making_way import LOOK_EVERY_S, TRY_AGAIN_S, MakingWay, leavable
from edge_agent.update.states import UpdateRecord
from protocol.states import BEFORE_EXCHANGE, TERMINAL_EXECUTION_STATES
from protocol.states import ExecutionState as S
from tests.fixtures.seeing import fake_bundle
from tests.unit.edge_agent.update.updater_rig import wish

SERVES, COMMITTED = "a" * 64, "b" * 64


class Line:
    """A slot that serves a stand-in of version 2, and the turns that were asked for."""

    def __init__(self) -> None:
        self.floors = {"tiny": 1}
        self.alerts: list[str] = []
        self.turned: list[tuple[str, str]] = []
        self.returned: tuple[str, ...] = (COMMITTED,)
        self.turns: tuple[str, ...] = ()
        serving = fake_bundle(SERVES, 2)
        self.unit: Any = SimpleNamespace(
            slot=SimpleNamespace(current=lambda: serving),
            updater=SimpleNamespace(record=None),
            back=SimpleNamespace(under_way=False, turn_to=self._turn_to),
            boot=SimpleNamespace(turns=lambda: self.turns, returned=lambda _running: self.returned),
        )
        judging: Any = SimpleNamespace(floors=lambda: self.floors)
        self.making_way = MakingWay(judging, lambda name, _text: self.alerts.append(name))

    def _turn_to(self, digest: str, turn: Turn) -> None:
        self.turned.append((digest, turn.alert))

    def look(self, now: float) -> list[tuple[str, str]]:
        """What was turned to by one look."""
        self.turned.clear()
        self.making_way.look("tiny", self.unit, now)
        return list(self.turned)


def record(state: S) -> UpdateRecord:
    return UpdateRecord(slot="tiny", desired=wish("c"), state=state)


@pytest.mark.parametrize("state", list(S))
def test_an_attempt_that_has_exchanged_nothing_is_no_hindrance(state: S) -> None:
    free = state in TERMINAL_EXECUTION_STATES or state in BEFORE_EXCHANGE
    assert leavable(record(state)) is (free and state is not S.PROVING)
    assert leavable(None)


def test_a_stand_in_makes_way_beside_a_shadow_and_not_beside_a_proof() -> None:
    line = Line()
    line.unit.updater.record = record(S.PROVING)
    assert line.look(0.0) == []
    line.unit.updater.record = record(S.SHADOWING)
    assert line.look(1.0) == [(COMMITTED, WHOLE_AGAIN.alert)]
    assert line.alerts == []


def test_nothing_is_looked_for_at_every_tick() -> None:
    line = Line()
    line.returned = ()
    assert line.look(0.0) == []
    line.returned = (COMMITTED,)
    assert line.look(LOOK_EVERY_S - 0.1) == []
    assert line.look(LOOK_EVERY_S) == [(COMMITTED, WHOLE_AGAIN.alert)]


def test_what_could_not_be_loaded_is_tried_again_after_a_while_and_when_the_floors_change() -> None:
    line = Line()
    assert line.look(0.0)
    assert [line.look(at_s) for at_s in (60.0, TRY_AGAIN_S - 1)] == [[], []]
    assert line.look(TRY_AGAIN_S + LOOK_EVERY_S)
    line.floors = {"tiny": 2}
    assert line.look(TRY_AGAIN_S + LOOK_EVERY_S + 1)


def test_a_revoked_one_is_told_once_and_makes_way_for_what_may_serve() -> None:
    line = Line()
    line.floors = {"tiny": 3}
    assert line.look(0.0) == []
    line.turns = ("d" * 64,)
    assert line.look(LOOK_EVERY_S) == [("d" * 64, "left_revoked")]
    assert line.alerts == ["revoked"]


def test_one_turn_at_a_time() -> None:
    line = Line()
    line.unit.back.under_way = True
    assert line.look(0.0) == []
