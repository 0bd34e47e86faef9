from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.backoff import backoff_s


@given(st.integers(-5, 10_000), st.floats(0.01, 10), st.floats(0.01, 600), st.integers())
def test_waits_are_positive_and_capped(attempt: int, base: float, cap: float, seed: int) -> None:
    wait = backoff_s(attempt, base, cap, Random(seed))
    assert 0 < wait <= cap
    if attempt <= 1:
        assert wait <= base


def test_jitter_is_full_and_grows_until_the_cap() -> None:
    rng = Random(1)
    means = [sum(backoff_s(n, 1.0, 30.0, rng) for _ in range(2000)) / 2000 for n in (1, 3, 5, 9)]
    assert [round(m * 2) for m in means] == [1, 4, 16, 30]
