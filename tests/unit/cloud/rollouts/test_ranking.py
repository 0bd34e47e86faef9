"""Which of two rollouts has the devices that both want."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.rollouts.planning.ranking import IDLE, outranks


@dataclass(frozen=True)
class One:
    id: str = "mine"
    created_at: float = 10.0
    priority: int = 0
    state: str = "RUNNING"
    ended_at: float | None = None
    model: str = "caps"


MINE = One()


@pytest.mark.parametrize(
    ("other", "mine", "has_it"),
    [
        (One("other", 11), MINE, True),
        (One("other", 9), MINE, False),
        (One("other", 9, priority=1), MINE, True),
        (One("other", 11, priority=-1), MINE, False),
        (One("other", 11, model="bottles"), MINE, False),
        (MINE, MINE, False),
        # What has ended keeps its devices against nobody who comes later,
        (One("other", 9, 5, "FINISHED", 9.5), MINE, False),
        (One("other", 9, 5, "FINISHED", 12), One(), False),
        # but a lower one that began meanwhile got none of them.
        (One("other", 11, 0, "FINISHED", 20), One(priority=5, ended_at=30), False),
        (One("other", 11, 0, "RUNNING"), One(priority=5, ended_at=30), False),
        (One("other", 31, 0, "RUNNING"), One(priority=5, ended_at=30), True),
        (One("other", 11, 0, "FINISHED", 20), One(state="FINISHED", ended_at=30), True),
    ],
)
def test_who_has_the_slot(other: One, mine: One, has_it: bool) -> None:
    assert outranks(other, mine) is has_it


@pytest.mark.parametrize("state", sorted(IDLE))
def test_what_gives_out_nothing_outranks_nobody(state: str) -> None:
    assert not outranks(One("other", 11, 9, state), MINE)


ONES = st.builds(
    One,
    id=st.sampled_from("abcd"),
    created_at=st.floats(0, 100),
    priority=st.integers(-2, 2),
    ended_at=st.none() | st.floats(0, 200),
)


@given(st.lists(ONES, max_size=5))
def test_of_two_at_most_one_has_a_device(them: list[One]) -> None:
    for one, other in product(them, them):
        assert not (outranks(one, other) and outranks(other, one))


@given(st.lists(ONES, min_size=1, max_size=5, unique_by=(lambda o: o.id, lambda o: o.created_at)))
def test_of_open_ones_one_outranks_all_the_others(them: list[One]) -> None:
    still_open = [One(o.id, o.created_at, o.priority) for o in them]
    above_nobody = [o for o in still_open if not any(outranks(x, o) for x in still_open)]
    assert len(above_nobody) == 1
