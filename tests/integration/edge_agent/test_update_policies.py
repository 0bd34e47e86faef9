"""A real agent under what a rollout may say, and under what people at the device say."""

from __future__ import annotations

import time

import pytest

from edge_agent.store import Store
from edge_agent.update.states import Committed, committed_name
from tests.integration.edge_agent.device import SLOT
from tests.integration.edge_agent.fake_hub import wait_for
from tests.integration.edge_agent.fleet import Fleet

pytestmark = pytest.mark.integration

ALIKE = {"share": 1.0, "frames_min": 5, "detections_min": 1, "latency_ratio_max": 100.0}
NEVER = {"cron": "0 0 29 2 *", "duration_s": 1.0}
ALWAYS = {"cron": "* * * * *", "duration_s": 3600.0}


def test_a_held_candidate_swaps_at_the_word_and_is_not_begun_again(fleet: Fleet) -> None:
    first = fleet.install(1)
    second = fleet.desire(2, hold=True)
    fleet.reaches("PREPARED", 2)
    fleet.stays("PREPARED", 2)
    fleet.serves(first)
    assert "holds it" in fleet.execution().reason
    fleet.desire(2)
    fleet.reaches("SUCCEEDED", 2)
    fleet.serves(second)
    assert fleet.hub.states(2).count("QUEUED") == 1


def test_shadow_compares_first_and_refuses_what_sees_otherwise(fleet: Fleet) -> None:
    fleet.install(1, shadow=ALIKE)
    assert "SHADOWING" not in fleet.hub.states(1), "there was nothing to compare with"
    fleet.install(2, shadow={**ALIKE, "confidence_shift_max": 1.0})
    assert "SHADOWING" in fleet.hub.states(2)
    assert fleet.hub.passage(2)[-1].figures["shadow_frames"] >= 5
    fleet.desire(9, shadow={**ALIKE, "confidence_shift_max": 0.0})
    fleet.reaches("REJECTED", 9)
    assert "confidences lie" in fleet.hub.passage(9)[-1].reason


def test_an_open_verdict_waits_for_a_person(fleet: Fleet) -> None:
    fleet.install(1)
    doubt = {**ALIKE, "frames_min": 1_000_000, "duration_max_s": 1.0}
    fleet.desire(2, shadow=doubt)
    wait_for(
        lambda: (
            fleet.execution() is not None
            and fleet.execution().figures.get("shadow_inconclusive") == 1.0
        ),
        "the question",
    )
    assert "a person decides" in fleet.execution().reason
    fleet.stays("SHADOWING", 2)
    fleet.desire(2, shadow={**doubt, "accepted": True})
    fleet.reaches("SUCCEEDED", 2)


def test_what_is_the_first_to_serve_waits_for_neither_window_nor_site(fleet: Fleet) -> None:
    fleet.serves(fleet.install(1, window=NEVER, hold=True))
    refused = fleet.command("rollback", "--slot", SLOT)
    assert refused.returncode != 0


def test_a_window_holds_a_candidate_back_and_a_newer_word_opens_it(fleet: Fleet) -> None:
    fleet.install(1)
    fleet.desire(2, window=NEVER)
    fleet.reaches("WAITING_WINDOW", 2)
    fleet.stays("WAITING_WINDOW", 2)
    assert "its window opens" in fleet.execution().reason
    fleet.device.kill()
    fleet.device.start()
    fleet.stays("WAITING_WINDOW", 2)
    fleet.desire(2, window=ALWAYS)
    fleet.reaches("SUCCEEDED", 2)


def test_a_revoked_version_is_neither_taken_nor_gone_back_to(fleet: Fleet) -> None:
    fleet.install(1)
    second = fleet.install(2)
    fleet.desire(2, floor=2)
    wait_for(lambda: fleet.hub.reports[-1].desired_generation == 3, "the floor's report")
    went = fleet.command("rollback", "--slot", SLOT)
    assert went.returncode != 0
    assert "revoked" in went.stdout + went.stderr
    fleet.desire(1, attempt=5, floor=2)
    fleet.reaches("REJECTED", 5)
    assert "revoked" in fleet.hub.passage(5)[-1].reason
    fleet.desire(2, floor=3)
    wait_for(lambda: "revoked" in fleet.alerts(), "the alert")
    fleet.device.kill()
    fleet.device.start()
    boots = {report.boot_id for report in fleet.hub.reports}
    wait_for(lambda: fleet.hub.reports[-1].boot_id not in boots, "a report after the kill")
    assert fleet.hub.running(SLOT) == second, "a blind line helps nobody"


def test_a_floor_that_is_raised_ends_what_only_waits(fleet: Fleet) -> None:
    first = fleet.install(1)
    fleet.desire(2, hold=True)
    fleet.reaches("PREPARED", 2)
    fleet.desire(2, hold=True, floor=3)
    fleet.reaches("REJECTED", 2)
    assert "revoked" in fleet.hub.passage(2)[-1].reason
    fleet.serves(first)
    fleet.desire(9, attempt=7, hold=True, floor=3)
    fleet.reaches("PREPARED", 7)
    gave_up = fleet.command("rollback", "--slot", SLOT)
    assert gave_up.returncode == 0, gave_up.stderr
    assert "was given up" in gave_up.stdout
    fleet.reaches("CANCELED", 7)
    fleet.serves(first)


def test_stopping_it_again_and_again_brings_no_older_version_back(fleet: Fleet) -> None:
    fleet.install(1)
    second = fleet.install(2)
    for _ in range(5):
        assert fleet.device.stop() == 0
        answered = len(fleet.device.detections())
        fleet.device.start()
        wait_for(lambda n=answered: len(fleet.device.detections()) > n + 2, "answers")  # type: ignore[misc]
        assert fleet.device.detections()[-1]["bundle_digest"] == second


def test_back_by_hand_while_the_agent_runs(fleet: Fleet) -> None:
    first = fleet.install(1)
    second = fleet.install(2)
    went = fleet.command("rollback", "--slot", SLOT)
    assert went.returncode == 0, went.stderr
    fleet.serves(first)
    wait_for(lambda: "rolled_back_by_hand" in fleet.alerts(), "the alert")
    fleet.desire(2)
    fleet.stays("SUCCEEDED", 2)
    fleet.device.kill()
    fleet.device.start()
    wait_for(lambda: len(fleet.device.detections()) > 0, "answers")
    fleet.stays("SUCCEEDED", 2)
    fleet.serves(first)
    third = fleet.install(2, attempt=3)
    assert third == second
    fleet.serves(second)
    committed = Store(fleet.device.data).load(committed_name(SLOT), Committed)
    assert committed == Committed(digest=second, previous_digest=first)


def test_the_line_says_not_now(fleet: Fleet) -> None:
    first = fleet.install(1)
    assert fleet.command("hold", "--for", "30m", "--slot", SLOT).returncode == 0
    fleet.desire(2)
    fleet.reaches("PREPARED", 2)
    fleet.stays("PREPARED", 2)
    fleet.serves(first)
    assert fleet.hub.reports[-1].slots[SLOT].veto_until > time.time()
    assert "not now" in fleet.execution().reason
    assert fleet.command("hold", "--release", "--slot", SLOT).returncode == 0
    fleet.reaches("SUCCEEDED", 2)
