"""What the engine carries out, on a real database: going back, joining, marks, the journal."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from cloud.fleet import inbound
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.inbound import Received
from cloud.rollouts import service
from cloud.rollouts.models import Rollout
from cloud.rollouts.planning.views import (
    Abort,
    Action,
    AskPerson,
    EndExecution,
    LookAtGate,
    StartExecution,
)
from cloud.rollouts.running import acting
from cloud.rollouts.states import Asks
from protocol.messages import Presence, SlotDesired, encode
from protocol.states import ExecutionEvent, ExecutionState
from protocol.topics import Kind, Topic
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub
from tests.unit.cloud.rollouts.test_policies import ONE, slot

S = ExecutionState
TWO = {"devices": ["dev-0", "dev-1"]}


def act(hub: Hub, rollout_id: str, action: Action) -> bool:
    with hub.database.transaction() as session:
        return acting.act(session, session.get_one(Rollout, rollout_id), action, hub.now)


def journal(hub: Hub, rollout_id: str) -> list[tuple[str, str]]:
    """(kind, by) of each entry."""
    with hub.database.reading() as session:
        entries = service.journal(session, ADMIN, rollout_id, limit=100)
        return [(entry.kind, entry.by) for entry in entries]


def texts(hub: Hub, rollout_id: str, kind: str) -> list[tuple[int | None, str]]:
    """(wave, text) of the entries of a kind."""
    with hub.database.reading() as session:
        entries = service.journal(session, ADMIN, rollout_id, limit=100)
        return [(entry.wave, entry.text) for entry in entries if entry.kind == kind]


def served(hub: Hub, version: int = 1, **asked: Any) -> str:
    """A rollout that has succeeded."""
    rollout_id = hub.create(**{**TWO, **asked}, version=version)
    hub.settle()
    for device_id in asked.get("devices", TWO["devices"]):
        hub.succeed(device_id)
    hub.settle()
    return rollout_id


def revert(hub: Hub, rollout_id: str) -> None:
    hub.call(partial(service.abort, revert=True, remark="it sees less"), rollout_id)
    hub.settle()


def under_way(hub: Hub, **asked: Any) -> str:
    """Version 2 after version 1: done on dev-0, not yet on dev-1."""
    served(hub)
    rollout_id = hub.create(version=2, **{**TWO, "failed_max": None, **asked})
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    return rollout_id


def test_a_rollout_that_is_taken_back_brings_what_was_before(hub: Hub) -> None:
    rollout_id = under_way(hub, shadow={}, probation_s=77, total_timeout_s=9000)

    revert(hub, rollout_id)

    rows = hub.executions(rollout_id)
    assert rows["dev-1", 1].state == "CANCELED"
    assert (rows["dev-0", 2].reverts, rows["dev-0", 2].digest) == (True, DIGESTS[1])
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.version) == (DIGESTS[1], 1)
    assert (wanted.rollout_id, wanted.attempt) == (rollout_id, 2)
    assert (wanted.shadow, wanted.hold, wanted.probation_s) == (None, False, 10)
    assert hub.rollout(rollout_id).state == "STOPPING"

    hub.succeed("dev-0")
    hub.settle()

    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.outcome, rollout.watched) == ("STOPPED", "REVERTED", False)
    assert slot(hub, "dev-1").bundle_digest == DIGESTS[1]
    assert journal(hub, rollout_id)[-2:] == [("aborted", "ada"), ("stopped", "engine")]


def test_a_device_that_does_not_come_back_is_counted_as_left(hub: Hub) -> None:
    rollout_id = under_way(hub)
    revert(hub, rollout_id)
    hub.report("dev-0", S.FAILED, "no room")
    hub.settle()
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.outcome) == ("STOPPED", None)
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[1], "it still is to run what was before"


def test_an_abort_of_the_engine_stops_and_says_why(hub: Hub) -> None:
    rollout_id = under_way(hub)
    assert act(hub, rollout_id, Abort("its gate says FAIL", revert=True))
    hub.settle()
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.reverting) == ("STOPPING", True)
    assert hub.executions(rollout_id)["dev-1", 1].reason == "its gate says FAIL"
    assert ("aborted", "engine") in journal(hub, rollout_id)


def test_a_person_is_asked_once_and_the_question_stands(hub: Hub) -> None:
    rollout_id = hub.create(**TWO)
    hub.settle()
    act(hub, rollout_id, AskPerson(Asks.GATE, "wave 1: too few frames"))
    rollout = hub.rollout(rollout_id)
    assert (rollout.asks, rollout.reason) == ("GATE", "wave 1: too few frames")
    assert journal(hub, rollout_id)[-1] == ("asked", "engine")


def test_a_gate_is_not_looked_at_under_the_lock(hub: Hub) -> None:
    rollout_id = hub.create(**TWO)
    with pytest.raises(TypeError):
        act(hub, rollout_id, LookAtGate(0, settled=False))


def test_actions_from_what_has_changed_since_change_nothing(hub: Hub) -> None:
    rollout_id = hub.create(**ONE, failed_max=None)
    hub.settle()
    late = EndExecution("dev-0", 1, ExecutionEvent.TIMER_EXPIRED, "late")
    assert not act(hub, rollout_id, StartExecution("dev-0", 1, DIGESTS[1]))
    assert not act(hub, rollout_id, StartExecution("dev-0", 2, DIGESTS[1]))
    hub.report("dev-0", S.SWAPPING)
    cancel = EndExecution("dev-0", 1, ExecutionEvent.CANCEL_REQUESTED, "no more")
    assert not act(hub, rollout_id, cancel)
    hub.report("dev-0", S.SUCCEEDED)
    assert not act(hub, rollout_id, late)
    assert hub.executions(rollout_id)["dev-0", 1].state == "SUCCEEDED"
    assert len(hub.published.desired("dev-0")) == 1


def test_an_attempt_remembers_how_often_its_device_had_started(hub: Hub) -> None:
    for epoch, boot_id in ((1, "a"), (2, "b")):
        message = Presence(device_id="dev-0", status="online", boot_id=boot_id, session_epoch=epoch)
        topic = Topic(Kind.PRESENCE, device_id="dev-0")
        with hub.database.transaction() as session:
            batch = [Received(topic, encode(message), message, hub.now)]
            inbound.store_presences(session, batch)
    rollout_id = hub.create(**TWO)
    hub.settle()
    assert [row.boots for row in hub.executions(rollout_id).values()] == [2, 0]


def test_an_attempt_says_since_when_the_new_build_runs_and_what_was_measured(hub: Hub) -> None:
    rollout_id = hub.create(**TWO)
    hub.settle()
    exchanged = {}
    for state in (S.SHADOWING, S.SWAPPING, S.PROBATION, S.COMMITTING, S.SUCCEEDED):
        hub.now += 10
        hub.report("dev-0", state, figures={f"{state.value}_frames": 5.0, "agreement": hub.now})
        exchanged[state] = hub.now
    for state in (S.SWAPPING, S.SUCCEEDED):
        hub.now += 10
        hub.report("dev-1", state)
        exchanged[state] = hub.now
    first, second = hub.executions(rollout_id).values()
    assert first.exchanged_at == exchanged[S.PROBATION]
    assert second.exchanged_at == exchanged[S.SWAPPING]
    assert first.figures["SHADOWING_frames"] == 5
    assert first.figures["agreement"] == exchanged[S.COMMITTING] + 10


def test_a_retry_that_follows_a_word_by_hand_remembers_that_word(hub: Hub) -> None:
    rollout_id = hub.create(**ONE, version=2, failed_max=None, retries={"count": 1, "after_s": 60})
    hub.settle()
    hub.report("dev-0", S.FAILED, "no room")
    hub.settle()
    by_hand = SlotDesired(
        bundle_digest=DIGESTS[1], manifest_bytes=500, model=MODEL, version=1, attempt=9
    )
    with hub.database.transaction() as session:
        fleet.set_slot(session, ADMIN, "dev-0", MODEL, by_hand)
    hub.settle(61)
    row = hub.executions(rollout_id)["dev-0", 2]
    assert row.started_at == hub.now
    assert row.before is not None and DIGESTS[1] in row.before


def test_devices_that_come_to_fit_join_the_last_wave(hub: Hub) -> None:
    rollout_id = hub.create(
        selector="line=b",
        continuous=True,
        waves=[{"count": 1}, {"percent": 100}],
        soak_s=30,
    )
    hub.settle()
    with hub.database.transaction() as session:
        fleet.enrol(session, ADMIN, "late", labels={"line": "b"}, models=[MODEL])
        fleet.enrol(session, ADMIN, "elsewhere", labels={"line": "c"}, models=[MODEL])
        fleet.enrol(session, ADMIN, "other", labels={"line": "b"}, models=["bottles"])
    hub.settle()
    rows = hub.executions(rollout_id)
    assert {d for d, _ in rows} == {"dev-2", "dev-3", "dev-4", "dev-5", "late"}
    assert (rows["late", 1].wave, rows["late", 1].started_at) == (1, None)
    assert journal(hub, rollout_id)[-1] == ("joined", "engine")

    for round_s in (0, 31, 31):
        hub.settle(round_s)
        for device_id, _ in [key for key, row in hub.executions(rollout_id).items()]:
            if hub.published.desired(device_id):
                hub.succeed(device_id)
    with hub.database.transaction() as session:
        device = session.get_one(Device, "elsewhere")
        device.labels = {"line": "b"}
        session.add(device)
        fleet.touch(session, ["elsewhere"])
    hub.settle()
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.wave) == ("RUNNING", 1)
    assert slot(hub, "elsewhere").rollout_id == rollout_id


def test_a_new_engine_finds_those_that_came_to_fit_meanwhile(hub: Hub) -> None:
    rollout_id = hub.create(continuous=True)
    with hub.database.transaction() as session:
        fleet.enrol(session, ADMIN, "late", models=[MODEL])
        fleet.forget(session, fleet.changed(session, 99))
    hub.settle()
    assert ("late", 1) in hub.executions(rollout_id)


def test_a_pinned_device_is_left_alone_and_taken_up_when_it_is_free(hub: Hub) -> None:
    served(hub, version=1)
    with hub.database.transaction() as session:
        service.pin(session, ADMIN, "dev-0", MODEL, digest=DIGESTS[1])
    rollout_id = hub.create(version=2, continuous=True, selector="line=a")
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[1]
    assert ("dev-0", 1) not in hub.executions(rollout_id)
    with hub.database.transaction() as session:
        service.unpin(session, ADMIN, "dev-0", MODEL)
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[2]


def test_a_pin_ends_what_is_under_way(hub: Hub) -> None:
    served(hub, version=1)
    rollout_id = hub.create(version=2, **TWO)
    hub.settle()
    with hub.database.transaction() as session:
        service.pin(session, ADMIN, "dev-0", MODEL, digest=DIGESTS[1])
    hub.settle()
    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.reason) == ("SUPERSEDED", "pinned by ada")
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[1]


def test_the_higher_priority_has_the_slot_whenever_it_began(hub: Hub) -> None:
    high = hub.create(**ONE, priority=5, version=2)
    hub.settle()
    low = hub.create(**TWO)
    hub.settle()
    assert hub.executions(low)["dev-0", 1].state == "SUPERSEDED"
    assert slot(hub, "dev-0").rollout_id == high
    assert slot(hub, "dev-1").rollout_id == low

    highest = hub.create(**ONE, priority=6)
    hub.settle()
    assert hub.executions(high)["dev-0", 1].state == "SUPERSEDED"
    assert slot(hub, "dev-0").rollout_id == highest


def test_the_journal_tells_of_waves_of_retries_and_of_what_took_the_slots(hub: Hub) -> None:
    rollout_id = hub.create(
        **TWO, waves=[{"count": 1, "needs_approval": True}, {"percent": 100}],
        retries={"count": 1, "after_s": 60}, failed_max=None, success_percent=0,
    )  # fmt: skip
    hub.settle()
    assert texts(hub, rollout_id, "wave") == [], "nothing may start yet"
    hub.call(service.approve, rollout_id)
    hub.settle()
    assert texts(hub, rollout_id, "wave") == [(0, "")]
    ((first, _),) = [key for key, row in hub.executions(rollout_id).items() if row.started_at]
    hub.report(first, S.FAILED, "no room on the disk")
    hub.now += 70
    hub.settle()
    assert texts(hub, rollout_id, "retried") == [(0, f"{first}: tried again")]
    hub.call(partial(service.force, remark="no time"), rollout_id)
    hub.settle()
    assert texts(hub, rollout_id, "wave") == [(0, ""), (1, "")]
    hub.create(**TWO, version=2, priority=9)
    hub.settle()
    ((wave, text),) = texts(hub, rollout_id, "superseded")
    assert (wave, text) == (1, "dev-0: another rollout takes the slot; and 1 more")


def test_a_rollout_that_came_to_nobody_says_who_took_its_devices(hub: Hub) -> None:
    old = hub.create(**TWO)
    hub.settle()
    new = hub.create(**TWO, version=2, name="the newer")
    hub.settle()
    rollout = hub.rollout(old)
    assert (rollout.state, rollout.outcome) == ("FINISHED", "FAILED")
    assert rollout.reason == f"2 of 2 devices SUPERSEDED: rollout {new} (the newer) took the slot"


def test_a_rollout_that_no_device_took_says_why_most_did_not(hub: Hub) -> None:
    rollout_id = hub.create(devices=["dev-0", "dev-1", "dev-2"], failed_max=3)
    hub.settle()
    for number, reason in enumerate(("golden frames differ", "too large", "golden frames differ")):
        hub.report(f"dev-{number}", S.REJECTED, reason)
    hub.settle()
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.outcome) == ("FINISHED", "FAILED")
    assert rollout.reason == "3 of 3 devices REJECTED: golden frames differ"
