"""The line's "not now": bounded, and never longer for a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Limits
from edge_agent.store import Store
from edge_agent.update.states import UpdateRecord
from edge_agent.update.veto import (
    Veto,
    Vetoes,
    allowed_s,
    grant,
    granted_words,
    holds,
    passed,
    released,
    taken_up,
    veto_name,
)
from edge_agent.update.waiting import ready
from protocol.messages import MaintenanceWindow
from protocol.states import ExecutionState
from tests.unit.edge_agent.update.updater_rig import wish

LIMITS = Limits(veto_s_max=3600.0)
WALL = 1.8e9
YEAR = 365 * 86_400.0
A, B = "rollout/1/aaaa", "rollout/2/bbbb"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "data")
    store.open()
    return store


def test_it_holds_for_its_time_and_no_longer() -> None:
    veto = grant(None, A, 600, WALL, LIMITS)
    assert holds(veto, A, LIMITS)
    assert holds(passed(veto, A, 599), A, LIMITS)
    assert not holds(passed(veto, A, 600), A, LIMITS)
    assert not holds(None, A, LIMITS)
    assert not holds(released(veto), A, LIMITS)
    assert holds(veto, "", LIMITS), "also before there is an attempt"


def test_one_is_cut_to_the_limit() -> None:
    veto = grant(None, A, 1e6, WALL, LIMITS)
    assert veto.left_s == 3600
    forged = taken_up(Veto(granted_at=WALL, until=WALL + 9e9, left_s=9e9), WALL, LIMITS)
    assert forged.left_s == 3600


@pytest.mark.parametrize("jump_s", [-YEAR, -10.0, -1.0, 601.0, YEAR])
def test_a_clock_that_is_set_while_the_agent_runs_changes_nothing(
    jump_s: float, store: Store
) -> None:
    vetoes = Vetoes(["tiny"], store, LIMITS, WALL)
    vetoes.hold("tiny", A, 600, WALL)
    vetoes.tick(0.0, WALL, {"tiny": A})
    vetoes.tick(100.0, WALL + jump_s + 100, {"tiny": A})
    assert vetoes.until("tiny", A, WALL + jump_s + 100) == pytest.approx(WALL + jump_s + 600, abs=1)
    again = Vetoes(["tiny"], store, LIMITS, WALL + jump_s + 200)
    assert again.until("tiny", A, WALL + jump_s + 200) == pytest.approx(
        WALL + jump_s + 600, abs=1
    ), "nor over a restart after that"
    vetoes.tick(599.0, WALL + jump_s + 599, {"tiny": A})
    assert vetoes.holds("tiny", A)
    vetoes.tick(600.0, WALL + jump_s + 600, {"tiny": A})
    assert not vetoes.holds("tiny", A)


@pytest.mark.parametrize(
    ("away_s", "left_s"),
    [(100.0, 500.0), (600.0, 0.0), (YEAR, 0.0), (-10.0, 600.0), (-YEAR, 600.0)],
)
def test_over_a_restart_the_wall_counts_and_one_that_went_back_adds_nothing(
    away_s: float, left_s: float
) -> None:
    veto = taken_up(grant(None, A, 600, WALL, LIMITS), WALL + away_s, LIMITS)
    assert veto.left_s == left_s
    assert holds(veto, A, LIMITS) is (left_s > 0)


def test_all_of_an_attempt_together_are_bounded_and_the_next_attempt_begins_anew() -> None:
    veto = passed(grant(None, A, 3000, WALL, LIMITS), A, 3000)
    assert allowed_s(veto, A, LIMITS) == 600
    again = grant(veto, A, 3000, WALL + 3000, LIMITS)
    assert again.left_s == 600
    last = passed(again, A, 600)
    assert grant(last, A, 60, WALL + 4000, LIMITS).left_s == 0
    assert grant(last, B, 60, WALL + 4000, LIMITS).left_s == 60


def test_what_was_taken_back_is_not_spent() -> None:
    veto = released(passed(grant(None, A, 3000, WALL, LIMITS), A, 100))
    assert allowed_s(veto, A, LIMITS) == 3500


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.floats(1, 1e5)),
        st.tuples(st.just("time"), st.floats(0, 1000)),
        st.tuples(st.just("jump"), st.floats(-YEAR, YEAR)),
        st.tuples(st.just("release"), st.just(0.0)),
        st.tuples(st.just("restart"), st.just(0.0)),
    ),
    max_size=60,
)


@given(MOVES)
def test_no_attempt_is_held_for_longer_than_the_limit(moves: list[tuple[str, float]]) -> None:
    veto: Veto | None = None
    wall, held_s = WALL, 0.0
    for what, value in moves:
        if what == "hold":
            veto = grant(veto, A, value, wall, LIMITS)
            assert veto.left_s <= LIMITS.veto_s_max
        elif what == "jump":
            wall = max(0.0, wall + value)
        elif what == "restart" and veto is not None:
            veto = taken_up(veto, wall, LIMITS)
        elif what == "release" and veto is not None:
            veto = released(veto)
        elif what == "time":
            # Held at most for what was left of it, whatever the clock says meanwhile.
            if veto is not None and holds(veto, A, LIMITS):
                held_s += min(value, veto.left_s)
            veto = None if veto is None else passed(veto, A, value)
            wall += value
    assert held_s <= LIMITS.veto_s_max * (1 + 1e-9)


def test_a_restart_keeps_what_was_granted_and_spent(store: Store) -> None:
    vetoes = Vetoes(["tiny"], store, LIMITS, WALL)
    assert vetoes.hold("tiny", A, 600, WALL) == 600
    vetoes.tick(0.0, WALL, {"tiny": A})
    vetoes.tick(61.0, WALL + 61, {"tiny": A})
    again = Vetoes(["tiny"], store, LIMITS, WALL + 61)
    assert again.holds("tiny", A)
    assert again.until("tiny", A, WALL + 61) == WALL + 600
    kept = store.load(veto_name("tiny"), Veto)
    assert kept is not None
    assert (kept.left_s, kept.spent_s, kept.attempt) == (539.0, 61.0, A)
    again.release("tiny")
    assert again.until("tiny", A, WALL + 61) is None
    assert not Vetoes(["tiny"], store, LIMITS, WALL + 61).holds("tiny", A)


def test_only_what_the_veto_alone_held_back_is_spent(store: Store) -> None:
    vetoes = Vetoes(["tiny"], store, LIMITS, WALL)
    for hour in range(3):  # its window is shut: said anew each hour, for more than the limit in all
        at = hour * 3600.0
        assert vetoes.hold("tiny", A, 3600, WALL + at) == 3600
        vetoes.tick(at, WALL + at, {})
        vetoes.tick(at + 3599, WALL + at + 3599, {})
    assert vetoes.hold("tiny", A, 3600, WALL + 10800) == 3600
    vetoes.tick(10800.0, WALL + 10800, {})
    vetoes.tick(14000.0, WALL + 14000, {"tiny": A})
    assert vetoes.hold("tiny", A, 3600, WALL + 14000) == 400


NIGHTLY = MaintenanceWindow(cron="0 2 * * *", duration_s=3600.0, time_zone="UTC")
TWO_AT_NIGHT = 1_800_064_800.0


@pytest.mark.parametrize(
    ("state", "hold", "at_s", "expected"),
    [
        (ExecutionState.PROVING, False, 60.0, False),
        (ExecutionState.WAITING_WINDOW, False, -60.0, False),
        (ExecutionState.WAITING_WINDOW, True, 60.0, True),
        (ExecutionState.PREPARED, False, 60.0, True),
        (ExecutionState.PREPARED, True, 60.0, False),
        (ExecutionState.PREPARED, False, 3660.0, False),
    ],
)
def test_an_attempt_is_ready_where_only_the_line_can_hold_it_back(
    state: ExecutionState, hold: bool, at_s: float, expected: bool
) -> None:
    desired = wish().model_copy(update={"window": NIGHTLY, "hold": hold})
    record = UpdateRecord(slot="tiny", desired=desired, state=state, previous_digest="b" * 64)
    assert ready(record, TWO_AT_NIGHT + at_s) is expected


def test_a_disk_that_refuses_does_not_overrule_the_line(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", refuse)
    vetoes = Vetoes(["tiny"], store, LIMITS, WALL)
    assert vetoes.hold("tiny", A, 600, WALL) == 600
    assert vetoes.holds("tiny", A)


def test_words_say_what_was_granted() -> None:
    assert granted_words("tiny", 60, 60, WALL, LIMITS) == (
        True,
        "no update is exchanged in tiny until 2027-01-15 08:01:00 UTC",
    )
    _, text = granted_words("tiny", 60, 60, WALL, LIMITS, zone="Europe/Berlin")
    assert "09:01:00 Europe/Berlin" in text
    ok, text = granted_words("tiny", 1e5, 3600, WALL, LIMITS)
    assert ok
    assert "no longer: limits.veto_s_max is 3600 s" in text
    ok, text = granted_words("tiny", 60, 0, WALL, LIMITS)
    assert not ok
    assert "as long as it may" in text
