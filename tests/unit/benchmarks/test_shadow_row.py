"""What the row of a shadow's cost says, and when it says nothing."""

from __future__ import annotations

from random import Random

import pytest

from tests.benchmarks.bench_shadow import RATIOS_MIN, Measured, Stretch, judged
from tests.benchmarks.harness import Unavailable


def measured(
    cost: float, *, noise: float = 0.01, ratios: int = 2 * RATIOS_MIN, looked: int = 50
) -> Measured:
    """Stretches of a line of 30 answers a second that a shadow slows by a share of `cost`, on a
    machine that gets slower all the time."""
    rng = Random(1)

    def stretch(number: int) -> Stretch:
        shadowed = number % 2 == 1
        fps = 30 * (1 - cost * shadowed) * 0.999**number
        return Stretch(shadowed, fps * rng.uniform(1 - noise, 1 + noise), fps / 2, 0.01)

    return Measured([stretch(number) for number in range(2 * ratios + 1)], looked, 0.01)


@pytest.mark.parametrize(("cost", "holds"), [(0.0, True), (0.01, True), (0.1, False)])
def test_the_row_tells_what_the_shadow_costs(cost: float, holds: bool) -> None:
    row = judged("shadow.share", measured(cost))
    assert row.holds is holds
    assert row.value == pytest.approx(1 - cost, abs=0.005)
    rate, per_cpu_s = row.detail["rate_share"], row.detail["answers_per_cpu_s_share"]
    assert rate["low"] <= 1 - cost <= rate["high"]
    assert per_cpu_s["mean"] == pytest.approx(1 - cost)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (measured(0.0, noise=0.5), "after 80 stretches the ratio lies between"),
        (measured(0.0, ratios=3), "after 3 stretches"),
        (measured(0.0, ratios=0), "after 0 stretches"),
        (measured(0.0, looked=2), "saw 2 frames only"),
    ],
)
def test_figures_that_say_nothing_are_no_row(found: Measured, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        judged("shadow.share", found)
