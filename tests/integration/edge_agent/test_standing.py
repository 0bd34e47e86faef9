"""Who serves where two mechanisms meet: floors, hands, trials and restarts, on a real agent."""

from __future__ import annotations

import urllib.request

import pytest

from edge_agent.local.address import read_address
from edge_agent.store import Store
from edge_agent.update.states import Committed, committed_name
from tests.integration.edge_agent.device import SLOT
from tests.integration.edge_agent.fake_hub import wait_for
from tests.integration.edge_agent.fleet import Fleet

pytestmark = pytest.mark.integration


def health(fleet: Fleet) -> str:
    address = wait_for(lambda: read_address(fleet.device.data), "the local page")
    with urllib.request.urlopen(f"{address}/healthz", timeout=5) as answer:  # noqa: S310
        return str(answer.read().decode())


def committed(fleet: Fleet) -> Committed | None:
    return Store(fleet.device.data).load(committed_name(SLOT), Committed)


def rot(fleet: Fleet, digest: str) -> None:
    model = fleet.device.data / "bundles" / digest / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")


def restarted(fleet: Fleet) -> str:
    """The digest of the first answer after a kill and a start."""
    fleet.device.kill()
    seen = len(fleet.device.detections())
    fleet.device.start()
    wait_for(lambda: len(fleet.device.detections()) > seen, "an answer")
    return str(fleet.device.detections()[seen]["bundle_digest"])


def test_an_attempt_that_a_person_left_is_not_taken_up_again(fleet: Fleet) -> None:
    """The hub may desire it once more as what was before a rollout that failed."""
    second = fleet.install(2)
    third = fleet.desire(3, hold=True)
    fleet.reaches("PREPARED", 3)
    assert fleet.command("rollback", "--slot", SLOT).returncode == 0
    fleet.reaches("CANCELED", 3)
    fleet.install(4)
    fleet.desire(3)
    wait_for(lambda: fleet.hub.states(3).count("CANCELED") == 2, "the answer")
    assert "left this very attempt" in fleet.hub.passage(3)[-1].reason
    assert "DOWNLOADING" not in fleet.hub.states(3)[-2:]
    fleet.install(3, attempt=7)
    fleet.serves(third)
    assert second != third


def test_what_a_person_left_after_its_success_is_not_taken_up_again(fleet: Fleet) -> None:
    first = fleet.install(1)
    fleet.install(2)
    assert fleet.command("rollback", "--slot", SLOT).returncode == 0
    fleet.serves(first)
    fourth = fleet.install(4)
    fleet.desire(2)
    wait_for(lambda: fleet.hub.states(2)[-1] == "CANCELED", "the answer")
    fleet.serves(fourth)
    assert restarted(fleet) == fourth


def test_what_is_revoked_makes_way_while_it_serves_and_stays_away(fleet: Fleet) -> None:
    third = fleet.install(3)
    fleet.install(2)
    first = fleet.install(1)
    fleet.serves(first)
    fleet.desire(1, floor=3)
    fleet.serves(third)
    wait_for(lambda: "left_revoked" in fleet.alerts(), "the alert")
    held = committed(fleet)
    assert held is not None
    assert (held.digest, held.previous_digest, held.by_hand) == (third, first, False)
    assert "revoked" in held.why
    assert restarted(fleet) == third


def test_the_way_back_from_a_trial_ends_at_what_is_not_revoked(fleet: Fleet) -> None:
    second = fleet.install(2)
    first = fleet.install(1)
    fleet.hub.desire(SLOT, *fleet.offered(4), attempt=4, probation_s=300.0)
    fleet.reaches("PROBATION", 4)
    fleet.hub.desire(SLOT, *fleet.offered(4), attempt=4, probation_s=300.0, policies={"floor": 2})
    wait_for(lambda: fleet.hub.reports[-1].desired_generation == 4, "the floor's report")
    assert fleet.command("rollback", "--slot", SLOT).returncode == 0
    fleet.reaches("ROLLED_BACK", 4)
    fleet.serves(second)
    assert restarted(fleet) == second
    assert first != second


def test_a_revoked_one_that_is_alone_serves_and_every_probe_says_so(fleet: Fleet) -> None:
    first = fleet.install(1)
    fleet.desire(1, floor=3)
    wait_for(lambda: "revoked" in fleet.alerts(), "the alert")
    assert "ok, but tiny: tiny v1 serves and is revoked" in health(fleet)
    fleet.serves(first)


def test_a_stand_in_makes_way_when_what_was_committed_is_whole_again(fleet: Fleet) -> None:
    """Beside an update that waits, perhaps for days; and until then the probes say who serves."""
    first, second = fleet.install(1), fleet.install(2)
    fleet.desire(3, hold=True)
    fleet.reaches("PREPARED", 3)
    fleet.device.stop()
    sends, fleet.hub.spoil = fleet.hub.spoil, lambda *_: None
    rot(fleet, second)
    fleet.device.start()
    wait_for(lambda: fleet.device.detections()[-1]["bundle_digest"] == first, "the stand-in")
    assert "ok, but tiny: tiny v1 serves because what was committed cannot" in health(fleet)
    fleet.hub.spoil = sends
    fleet.serves(second)
    wait_for(lambda: "serves_again" in fleet.alerts(), "the alert")
    assert committed(fleet) == Committed(digest=second, previous_digest=first)
    wait_for(lambda: health(fleet) == "ok\n", "the probe")
    assert fleet.hub.states(3)[-1] == "PREPARED"


def test_a_person_may_keep_the_stand_in(fleet: Fleet) -> None:
    """Whatever comes back whole later, and over every start."""
    first, second = fleet.install(1), fleet.install(2)
    fleet.device.stop()
    sends, fleet.hub.spoil = fleet.hub.spoil, lambda *_: None
    rot(fleet, second)
    fleet.device.start()
    wait_for(lambda: fleet.device.detections()[-1]["bundle_digest"] == first, "the stand-in")
    told = fleet.command("rollback", "--slot", SLOT)
    assert told.returncode == 0, told.stderr
    assert "stays in" in told.stdout
    fleet.hub.spoil = sends
    wait_for(lambda: "rolled_back_by_hand" in fleet.alerts(), "the alert")
    held = committed(fleet)
    assert held is not None
    assert (held.digest, held.previous_digest, held.by_hand) == (first, second, True)
    assert restarted(fleet) == first
    fleet.serves(first)


def test_a_floor_that_was_lowered_again_stands_in_nobodys_way(fleet: Fleet) -> None:
    second, first = fleet.install(2), fleet.install(1)
    fleet.desire(1, floor=2)
    fleet.serves(second)
    fleet.hub.desire(SLOT, *fleet.offered(1), attempt=1, policies={"floor": 1})
    wait_for(lambda: "revoked" not in health(fleet), "the floor")
    told = fleet.command("rollback", "--slot", SLOT)
    assert told.returncode == 0, told.stderr
    fleet.serves(first)


def test_a_person_who_insists_takes_back_that_it_was_left(fleet: Fleet) -> None:
    first, second = fleet.install(1), fleet.install(2)
    for serves, words in ((first, ()), (second, ("--force",))):
        told = fleet.command("rollback", "--slot", SLOT, *words)
        assert told.returncode == 0, told.stderr
        fleet.serves(serves)
    fleet.install(3)
    told = fleet.command("rollback", "--slot", SLOT)
    assert told.returncode == 0, told.stderr
    assert "tiny v3" in told.stdout and "to tiny v2" in told.stdout
    fleet.serves(second)


def test_a_blind_line_sees_again_as_soon_as_its_bundle_is_whole(fleet: Fleet) -> None:
    """Beside an update that waits: it had stayed blind until that was over."""
    first = fleet.install(1)
    fleet.desire(2, hold=True)
    fleet.reaches("PREPARED", 2)
    fleet.device.kill()
    rot(fleet, first)
    seen = len(fleet.device.detections())
    fleet.device.start()
    wait_for(lambda: len(fleet.device.detections()) > seen, "an answer")
    assert fleet.device.detections()[seen]["bundle_digest"] == first
    assert fleet.hub.states(2)[-1] == "PREPARED"
    assert "bundle_repaired" in fleet.alerts()


def test_rot_in_a_candidate_that_waits_is_repaired_before_it_is_loaded(fleet: Fleet) -> None:
    fleet.install(1)
    second = fleet.desire(2, hold=True)
    fleet.reaches("PREPARED", 2)
    fleet.device.kill()
    rot(fleet, second)
    fleet.device.start()
    fleet.desire(2)
    fleet.reaches("SUCCEEDED", 2)
    fleet.serves(second)
