"""A device that runs another build than it had committed, in a rollout that is under way."""

from __future__ import annotations

from cloud.rollouts import service
from tests.unit.cloud.rollouts.conftest import DIGESTS, Hub


def test_who_has_diverged_for_good_holds_its_wave_until_a_person_goes_on(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 1}], attempts_max=1)
    hub.settle()
    (first,) = [key[0] for key, row in hub.executions(rollout_id).items() if row.started_at]
    hub.succeed(first)
    hub.runs(first, DIGESTS[2])

    hub.settle()
    assert hub.rollout(rollout_id).state == "PAUSED"
    assert hub.rollout(rollout_id).reason == ("wave 1: 0 % of 1 devices succeeded; 100 % are asked")

    hub.call(service.resume, rollout_id)
    hub.settle()
    assert hub.executions(rollout_id)[first, 1].acknowledged
    assert (hub.rollout(rollout_id).state, hub.rollout(rollout_id).wave) == ("RUNNING", 1)
