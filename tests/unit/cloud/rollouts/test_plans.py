"""A plan's counts are of all devices, however many of them it names."""

from __future__ import annotations

from cloud.registry.resolution import BuildOffer
from cloud.rollouts.request.plans import PLAN_DEVICES_MAX, Placed, plan
from cloud.rollouts.request.spec import WaveAsked
from tests.simulation.rollouts.builds import ABLE, IDENTITY, UNABLE
from tests.unit.cloud.rollouts.conftest import DIGESTS

OFFERS = [BuildOffer(DIGESTS[1], IDENTITY)]


def device(number: int, able: bool | None, wave: int = 0, presence: str = "online") -> Placed:
    """`able` None: it never said anything."""
    text = None if able is None else (ABLE if able else UNABLE).model_dump_json()
    return Placed(f"dev-{number:05}", wave, presence, text)


def test_devices_are_counted_by_wave_and_by_build() -> None:
    waves = [WaveAsked(count=2, needs_approval=True), WaveAsked(selector="line=b")]
    placed = [
        device(0, True),
        device(1, None, presence="unknown"),
        device(2, False, 1, "offline"),
        device(3, True, 1),
    ]

    found = plan(("caps", 1), OFFERS, waves, placed)

    counts = [(w.devices, w.no_artifact, w.unheard, w.offline) for w in found.waves]
    assert counts == [(2, 0, 1, 1), (2, 1, 0, 1)]
    assert (found.count, found.no_artifact, found.unheard, found.offline) == (4, 1, 1, 2)
    assert [(build.digest, build.devices) for build in found.builds] == [(DIGESTS[1], 3)]
    assert found.waves[0].needs_approval
    assert [d.device for d in found.devices] == ["dev-00002", "dev-00000", "dev-00001", "dev-00003"]
    assert found.devices[0].digest is None
    assert found.devices[0].reason


def test_of_a_large_fleet_those_without_a_build_are_named_first() -> None:
    total = PLAN_DEVICES_MAX + 500
    placed = [device(number, number < total - 3) for number in range(total)]

    found = plan(("caps", 1), OFFERS, [WaveAsked(percent=100)], placed)

    assert (found.count, found.no_artifact, found.waves[0].devices) == (total, 3, total)
    assert len(found.devices) == PLAN_DEVICES_MAX
    assert [d.digest for d in found.devices[:4]] == [None, None, None, DIGESTS[1]]
