"""The line's "not now": bounded, and never longer for a clock that jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config import Limits
from edge_agent.store import Store
from edge_agent.update.veto import (
    Veto,
    Vetoes,
    allowed_s,
    grant,
    granted_words,
    holds,
    passed,
    released,
    veto_name,
)

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
    assert holds(veto, A, WALL, LIMITS)
    assert holds(veto, A, WALL + 599, LIMITS)
    assert not holds(veto, A, WALL + 600, LIMITS)
    assert not holds(None, A, WALL, LIMITS)
    assert not holds(released(veto), A, WALL, LIMITS)
    assert holds(veto, "", WALL, LIMITS), "also before there is an attempt"


def test_one_is_cut_to_the_limit() -> None:
    veto = grant(None, A, 1e6, WALL, LIMITS)
    assert veto.left_s == 3600
    assert not holds(veto, A, WALL + 3600, LIMITS)
    assert not holds(Veto(granted_at=WALL, until=WALL + 9e9, left_s=9e9), A, WALL, LIMITS)


@pytest.mark.parametrize("jump_s", [-YEAR, -1.0, 601.0, YEAR])
def test_a_clock_that_jumps_ends_it(jump_s: float) -> None:
    assert not holds(grant(None, A, 600, WALL, LIMITS), A, WALL + jump_s, LIMITS)


def test_a_clock_that_goes_back_a_little_makes_it_no_longer() -> None:
    veto = passed(grant(None, A, 600, WALL, LIMITS), A, 600)
    assert not holds(veto, A, WALL + 300, LIMITS)


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
        elif what == "release" and veto is not None:
            veto = released(veto)
        elif what == "time":
            # Held at most for what was left of it, whatever the clock says meanwhile.
            if veto is not None and holds(veto, A, wall, LIMITS):
                held_s += min(value, veto.left_s)
            veto = None if veto is None else passed(veto, A, value)
            wall += value
    assert held_s <= LIMITS.veto_s_max * (1 + 1e-9)


def test_a_restart_keeps_what_was_granted_and_spent(store: Store) -> None:
    vetoes = Vetoes(["tiny"], store, LIMITS)
    assert vetoes.hold("tiny", A, 600, WALL) == 600
    vetoes.tick(0.0, {"tiny": A})
    vetoes.tick(61.0, {"tiny": A})
    again = Vetoes(["tiny"], store, LIMITS)
    assert again.holds("tiny", A, WALL + 61)
    assert again.until("tiny", A, WALL + 61) == WALL + 600
    kept = store.load(veto_name("tiny"), Veto)
    assert kept is not None
    assert (kept.left_s, kept.spent_s, kept.attempt) == (539.0, 61.0, A)
    again.release("tiny")
    assert again.until("tiny", A, WALL + 61) is None
    assert not Vetoes(["tiny"], store, LIMITS).holds("tiny", A, WALL + 61)


def test_real_time_ends_it_though_the_clock_stands(store: Store) -> None:
    vetoes = Vetoes(["tiny"], store, LIMITS)
    vetoes.hold("tiny", A, 30, WALL)
    vetoes.tick(0.0, {})
    vetoes.tick(29.0, {})
    assert vetoes.holds("tiny", A, WALL + 1)
    vetoes.tick(30.0, {})
    assert not vetoes.holds("tiny", A, WALL + 1)


def test_a_disk_that_refuses_does_not_overrule_the_line(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", refuse)
    vetoes = Vetoes(["tiny"], store, LIMITS)
    assert vetoes.hold("tiny", A, 600, WALL) == 600
    assert vetoes.holds("tiny", A, WALL + 1)


def test_words_say_what_was_granted() -> None:
    assert granted_words("tiny", 60, 60, WALL, LIMITS) == (
        True,
        "no update is exchanged in tiny until 2027-01-15 08:01:00 UTC",
    )
    ok, text = granted_words("tiny", 1e5, 3600, WALL, LIMITS)
    assert ok
    assert "no longer: limits.veto_s_max is 3600 s" in text
    ok, text = granted_words("tiny", 60, 0, WALL, LIMITS)
    assert not ok
    assert "as long as it may" in text
