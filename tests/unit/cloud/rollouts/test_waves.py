"""Devices in waves: each in exactly one, in an order that can be computed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.fleet.selectors import parse
from cloud.rollouts.planning.waves import Target, Wave, assign

TARGETS = [Target(f"dev-{n:02}", {"line": "a" if n % 3 else "b"}) for n in range(10)]
WAVES = st.one_of(
    st.builds(Wave, percent=st.floats(0.1, 100)),
    st.builds(Wave, count=st.integers(1, 30)),
    st.builds(Wave, selector=st.sampled_from([parse("line=a"), parse("line=z")])),
)


def sizes(*waves: Wave) -> list[int]:
    return [len(wave) for wave in assign(waves, TARGETS, "seed")]


@pytest.mark.parametrize(
    ("waves", "expected"),
    [
        ((), [10]),
        ((Wave(percent=10), Wave(percent=50), Wave(percent=100)), [1, 4, 5]),
        ((Wave(percent=1), Wave(percent=2)), [1, 0, 9]),
        ((Wave(count=2),), [2, 8]),
        ((Wave(count=2), Wave(count=20)), [2, 8]),
        ((Wave(selector=parse("line=b")), Wave(percent=100)), [4, 6]),
    ],
)
def test_sizes(waves: tuple[Wave, ...], expected: list[int]) -> None:
    assert sizes(*waves) == expected


@given(waves=st.lists(WAVES, max_size=5), seed=st.text(max_size=5))
def test_every_device_is_in_one_wave_whatever_the_order_given(waves: list[Wave], seed: str) -> None:
    assigned = assign(waves, TARGETS, seed)

    flat = [device for wave in assigned for device in wave]
    assert sorted(flat) == [target.device_id for target in TARGETS]
    assert assigned == assign(waves, reversed(TARGETS), seed)


@given(
    sites=st.lists(st.sampled_from(["ulm", "bonn", "kiel", None]), min_size=1, max_size=20),
    waves=st.lists(WAVES.filter(lambda wave: wave.selector is None), max_size=4),
)
def test_a_site_is_not_divided_and_nobody_is_left_out(
    sites: list[str | None], waves: list[Wave]
) -> None:
    targets = [Target(f"dev-{n}", site=site) for n, site in enumerate(sites)]

    assigned = assign(waves, targets, "seed")

    assert sorted(device for wave in assigned for device in wave) == sorted(
        target.device_id for target in targets
    )
    where = {device: number for number, wave in enumerate(assigned) for device in wave}
    for site in {site for site in sites if site is not None}:
        assert len({where[t.device_id] for t in targets if t.site == site}) == 1


def test_not_always_the_same_devices_go_first() -> None:
    first = {assign([Wave(count=1)], TARGETS, f"rollout-{n}")[0] for n in range(20)}
    assert len(first) > 3
