"""Two hundred devices, a hub and a broker as processes: three waves, and nobody is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.rollouts.whole_fleet import whole_fleet

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DEVICES = 200
DEADLINE_S = 120.0
COPIES_A_WAVE_MAX = 4
"""A wave gets every chunk once, and those who began late once more: not each device its own."""


def test_a_fleet_takes_a_build_in_three_waves(tmp_path: Path) -> None:
    with whole_fleet(tmp_path, DEVICES, 300_000) as fleet:
        waves = [{"percent": 1}, {"percent": 10}, {"percent": 100}]
        rollout_id = fleet.roll_out(waves=waves, probation_s=0.2)
        fleet.wait_finished(rollout_id, DEADLINE_S)
        assert fleet.state(rollout_id)[1] == "SUCCEEDED"
        assert fleet.executions(rollout_id) == {"SUCCEEDED": DEVICES}
        assert fleet.running() == {fleet.digest: DEVICES}
        published = fleet.counters()['argosy_published_bytes_total{kind="blob_chunk"}']
        assert published <= COPIES_A_WAVE_MAX * len(waves) * fleet.bundle_bytes
