"""Whoever is due is found, once and in order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from simulators.agenda import Agenda

times = st.floats(0, 100)


@given(st.lists(st.tuples(st.integers(0, 9), times), max_size=40), times)
def test_the_last_time_of_each_counts(asked: list[tuple[int, float]], now: float) -> None:
    agenda: Agenda[int] = Agenda()
    for entry, at in asked:
        agenda.set(entry, at)
    last = dict(asked)
    due = list(agenda.due(now))
    assert sorted(due) == sorted(entry for entry, at in last.items() if at <= now)
    assert [last[entry] for entry in due] == sorted(last[entry] for entry in due)
    assert list(agenda.due(now)) == []
    left = [at for at in last.values() if at > now]
    assert agenda.next_at() <= min(left, default=math.inf)
    assert sorted(agenda.due(math.inf)) == sorted(entry for entry, at in last.items() if at > now)
    assert agenda.next_at() == math.inf


def test_one_that_was_due_can_be_due_again() -> None:
    agenda: Agenda[str] = Agenda()
    agenda.set("a", 1.0)
    assert list(agenda.due(1.0)) == ["a"]
    agenda.set("a", 1.0)
    assert list(agenda.due(1.0)) == ["a"]
