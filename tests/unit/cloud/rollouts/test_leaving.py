"""A person at a device that is away goes back, and the hub hears of it after it has gone on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from cloud.fleet import service as fleet
from cloud.inbound import Received
from cloud.rollouts import service
from cloud.rollouts.evidence import deviations, gathering
from cloud.rollouts.models import DevicePin, Execution
from cloud.rollouts.running.leaving import brought, came_later, is_stale
from cloud.telemetry import service as telemetry
from protocol.messages import Alert, EventReport, ExecutionReport, SlotDesired, encode
from protocol.states import ExecutionState as S
from protocol.topics import Kind, Topic
from tests.simulation.rollouts.devices import PATH
from tests.unit.cloud.rollouts.conftest import ADMIN, MODEL, Hub
from tests.unit.cloud.rollouts.test_before import NEW, NEWEST, OLD, fails, reports, serving_old
from tests.unit.cloud.rollouts.test_policies import ONE, slot

BY_HAND, REVOKED = "rolled_back_by_hand", "left_revoked"
_sequence = itertools.count(1)


def say(hub: Hub, *events: EventReport) -> None:
    """Events of the device's come, in one batch."""
    topic = Topic(Kind.EVENTS, device_id="dev-0")
    batch = [Received(topic, encode(event), event, hub.now) for event in events]
    with hub.database.transaction() as session:
        telemetry.store_events(session, batch, ranges_max=99, on_words=[hub.engine.on_words])
    hub.settle()


def event(at: float, **said: Alert | ExecutionReport) -> EventReport:
    stream = {"device_id": "dev-0", "epoch": "0" * 32, "sequence": next(_sequence)}
    return EventReport.model_validate({**stream, "at": at, **said})


def went(at: float, name: str = BY_HAND, left: str = NEW, serves: str = OLD) -> EventReport:
    """The device's word that another bundle serves, as it is told where no agent runs."""
    text = f"{MODEL}: {MODEL} v1 ({serves[:12]}) serves from the next start on"
    return event(at, alert=Alert(name=name, text=text, slot=MODEL, left=left, serves=serves))


def walked(wanted: SlotDesired, at: float, path: Sequence[S] = PATH) -> list[EventReport]:
    """The device's words on an attempt, all of one moment."""
    named = {"rollout_id": wanted.rollout_id, "attempt": wanted.attempt, "slot": MODEL}
    told = [
        ExecutionReport(**named, bundle_digest=wanted.bundle_digest, state=state) for state in path
    ]
    return [event(at, execution=report) for report in told]


def rolled(hub: Hub, version: int) -> str:
    rollout_id = hub.create(**ONE, version=version)
    hub.settle()
    return rollout_id


@pytest.fixture
def first(hub: Hub) -> str:
    """Version 1 serves, then version 2, whose rollout this is; and there is a version 3."""
    serving_old(hub)
    rollout_id = rolled(hub, 2)
    hub.succeed("dev-0")
    reports(hub, NEW, S.SUCCEEDED)
    hub.settle(10)
    return rollout_id


def pin(hub: Hub, version: int) -> None:
    with hub.database.transaction() as session:
        service.pin(session, ADMIN, "dev-0", MODEL, version=version)


def unpin(hub: Hub) -> str | None:
    with hub.database.transaction() as session:
        return service.unpin(session, ADMIN, "dev-0", MODEL)[0]


def before(hub: Hub, rollout_id: str, attempt: int = 1) -> tuple[str | None, int] | None:
    """The rollout and attempt that brought what is known to have been there."""
    text = hub.executions(rollout_id)["dev-0", attempt].before
    found = None if text is None else SlotDesired.model_validate_json(text)
    return None if found is None else (found.rollout_id, found.version)


@pytest.mark.parametrize("name", [BY_HAND, REVOKED])
def test_a_pin_is_let_go_to_what_a_person_had_gone_back_to(hub: Hub, first: str, name: str) -> None:
    pin(hub, 3)
    say(hub, went(hub.now - 5, name))
    assert unpin(hub) == OLD
    assert (slot(hub, "dev-0").bundle_digest, slot(hub, "dev-0").rollout_id) == (OLD, None)
    assert hub.executions(first)["dev-0", 1].by_hand is (name == BY_HAND), "nobody was there"


def test_a_failed_rollout_leaves_what_a_person_had_gone_back_to(hub: Hub, first: str) -> None:
    left_at = hub.now
    hub.now += 5
    failed = rolled(hub, 3)
    assert before(hub, failed) == (first, 2)
    # All of it comes at once, as it lay on the device.
    say(hub, went(left_at), *walked(slot(hub, "dev-0"), hub.now, [S.PROVING, S.REJECTED]))
    assert hub.executions(failed)["dev-0", 1].state == "REJECTED"
    assert (slot(hub, "dev-0").bundle_digest, slot(hub, "dev-0").rollout_id) == (OLD, None)


def test_a_rollout_is_taken_back_to_what_a_person_had_gone_back_to(hub: Hub, first: str) -> None:
    newer = hub.create(devices=["dev-0", "dev-1"], version=3)
    hub.settle()
    say(hub, went(hub.now - 5), *walked(slot(hub, "dev-0"), hub.now))
    hub.call(partial(service.abort, revert=True, remark="it sees less"), newer)
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_what_is_rolled_out_between_the_word_and_the_next_report_knows_of_it(
    hub: Hub, first: str
) -> None:
    say(hub, went(hub.now))
    hub.now += 2
    newer = rolled(hub, 3)
    assert (before(hub, newer) or (None, 0))[1] == 1
    hub.succeed("dev-0")
    hub.call(partial(service.abort, revert=True, remark="it sees less"), newer)
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == OLD
    assert hub.executions(first)["dev-0", 1].by_hand


def test_a_word_that_is_older_than_the_last_report_does_not_change_what_runs(
    hub: Hub, first: str
) -> None:
    rolled(hub, 3)
    hub.succeed("dev-0")
    reports(hub, NEWEST, S.SUCCEEDED)
    say(hub, went(hub.now - 60))
    with hub.database.reading() as session:
        assert fleet.get_device(session, ADMIN, "dev-0").running[MODEL] == NEWEST


def test_what_serves_is_desired_in_the_place_of_what_was_left(hub: Hub, first: str) -> None:
    """A device that loses its disk then comes back to it; and a pin to what was left is news."""
    had = slot(hub, "dev-0")
    say(hub, went(hub.now))
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id != had.rollout_id) == (OLD, True)
    hub.settle(10)
    assert slot(hub, "dev-0") == wanted, "no engine overrules that"
    pin(hub, 2)
    assert (slot(hub, "dev-0").bundle_digest, slot(hub, "dev-0").rollout_id) == (NEW, None)


def test_a_pin_stands_where_somebody_at_the_device_went_back(hub: Hub, first: str) -> None:
    pin(hub, 2)
    wanted = slot(hub, "dev-0")
    say(hub, *walked(wanted, hub.now))
    say(hub, went(hub.now + 5))
    assert slot(hub, "dev-0") == wanted


def test_the_last_of_two_turns_counts_and_asks_for_nothing_new(hub: Hub, first: str) -> None:
    """Both told at once: the device is not to go back to the first on account of the hub."""
    had = slot(hub, "dev-0")
    say(hub, went(hub.now), went(hub.now + 5, left=OLD, serves=NEW))
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id) == (NEW, had.rollout_id)
    assert wanted.attempt == had.attempt
    row = hub.executions(first)["dev-0", 1]
    assert (row.by_hand, row.diverged, row.reason) == (False, False, "")


def test_the_record_of_the_rollout_that_was_left_names_the_person(hub: Hub, first: str) -> None:
    rolled(hub, 3)
    say(hub, went(hub.now - 5))
    hub.runs("dev-0", OLD)
    with hub.database.reading() as session:
        told = gathering.collect(session, ADMIN, first, hub.now)
    assert told["outcome"]["have_it"] == 0
    (item,) = told["deviations"]["by_hand"]["items"]
    assert item["reason"] == f"runs {OLD}, somebody at the device went back"
    assert deviations.KINDS["by_hand"] == told["deviations"]["by_hand"]["means"]
    with hub.database.reading() as session:
        kinds = [e.kind for e in service.journal(session, ADMIN, first, limit=99)]
    assert kinds.count("diverged") == 1


def test_what_was_brought_and_left_is_told_at_once(hub: Hub) -> None:
    serving_old(hub)
    rollout_id = rolled(hub, 2)
    say(hub, *walked(slot(hub, "dev-0"), hub.now + 1), went(hub.now + 2))
    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.by_hand, row.diverged) == ("SUCCEEDED", True, True)


def test_what_the_registry_does_not_know_is_left_running(hub: Hub, first: str) -> None:
    failed = rolled(hub, 3)
    say(hub, went(hub.now - 5, serves="9" * 64))
    assert before(hub, failed) is None
    assert hub.executions(first)["dev-0", 1].by_hand


def test_a_word_that_is_told_again_changes_nothing_more(hub: Hub, first: str) -> None:
    failed = rolled(hub, 3)
    left_at = hub.now - 5
    for _ in range(2):
        say(hub, went(left_at))
        assert before(hub, failed) == (None, 1)
    with hub.database.reading() as session:
        kinds = [e.kind for e in service.journal(session, ADMIN, first, limit=99)]
    assert kinds.count("diverged") == 1


@pytest.mark.parametrize("by_pin", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_in_which_order_words_come_does_not_matter(
    hub: Hub, first: str, late: bool, by_pin: bool
) -> None:
    """Version 2 is left, and asked for and taken up anew; then version 3 begins."""
    left_at = hub.now
    hub.now += 5
    if by_pin:
        pin(hub, 1)
        pin(hub, 2)
        again = None
    else:
        again = rolled(hub, 2)
    brings = slot(hub, "dev-0")
    words = walked(brings, hub.now)
    if not late:
        say(hub, went(left_at))
    say(hub, *words)
    hub.now += 5
    if by_pin:
        with hub.database.transaction() as session:
            session.delete(session.get_one(DevicePin, ("dev-0", MODEL)))
    newer = rolled(hub, 3)
    if late:
        say(hub, went(left_at))
    assert before(hub, newer) == (again, 2), "it was there, by its second bringing"
    assert hub.executions(first)["dev-0", 1].by_hand
    if again is not None:
        assert not hub.executions(again)["dev-0", 1].by_hand
        assert before(hub, again) == (None, 1), "and before that what the person went back to"


def test_what_was_exchanged_before_the_person_came_has_met_what_is_recorded(
    hub: Hub, first: str
) -> None:
    known = before(hub, first)
    hub.now += 5
    say(hub, went(hub.now - 2), went(hub.now - 1, left=OLD, serves=NEW))
    assert before(hub, first) == known


def test_another_slot_is_another_matter(hub: Hub, first: str) -> None:
    newer = rolled(hub, 3)
    said = Alert(name=BY_HAND, text="it went", slot="bottles", left=NEW, serves=OLD)
    say(hub, event(hub.now - 5, alert=said))
    assert before(hub, newer) == (first, 2)
    assert not hub.executions(first)["dev-0", 1].by_hand


def test_an_agent_that_names_no_digests_corrects_nothing(hub: Hub, first: str) -> None:
    newer = rolled(hub, 3)
    text = f"{MODEL}: from {NEW[:12]} to {OLD[:12]}"
    say(hub, event(hub.now - 5, alert=Alert(name=BY_HAND, text=text)))
    assert before(hub, newer) == (first, 2)


def test_what_failed_before_keeps_what_it_had_met(hub: Hub, first: str) -> None:
    failed = fails(hub)
    hub.now += 5
    say(hub, went(hub.now))
    assert before(hub, failed) == (first, 2)


# ---- the decision alone ---------------------------------------------------------------------

STATES = st.sampled_from([S.QUEUED, S.PROBATION, S.SUCCEEDED, S.ROLLED_BACK])
TIMES = st.none() | st.integers(1, 9).map(float)


@st.composite
def rows(draw: st.DrawFn) -> Execution:
    return Execution(
        rollout_id="r", device_id="d", attempt=draw(st.integers(1, 9)), wave=0, step_at=0,
        state=draw(STATES).value, digest=draw(st.sampled_from([None, OLD, NEW])),
        exchanged_at=draw(TIMES), device_ended_at=draw(TIMES),
    )  # fmt: skip


@for_all(st.lists(rows(), max_size=6), st.integers(0, 10).map(float))
def test_no_attempt_had_brought_the_build_and_came_later(known: list[Execution], at: float) -> None:
    left = brought(known, NEW, at)
    there = [
        row for row in known if (row.digest, row.state) == (NEW, "SUCCEEDED")
        and (row.exchanged_at or row.device_ended_at or 0.0) <= at
    ]  # fmt: skip
    assert (left is None) is (not there)
    if left is not None and (left.exchanged_at or left.device_ended_at) is not None:
        assert not came_later(left, at)
    assert all(came_later(row, at) for row in known if (row.exchanged_at or 0.0) > at)


@for_all(
    st.sampled_from([OLD, NEW, NEWEST]),
    st.tuples(st.sampled_from([None, "r", "s"]), st.integers(1, 3)),
    st.sets(st.tuples(st.sampled_from([None, "r", "s"]), st.integers(1, 3))),
)
def test_only_the_build_that_was_left_is_put_right(
    digest: str, key: tuple[str | None, int], spared: set[tuple[str | None, int]]
) -> None:
    said = SlotDesired(
        bundle_digest=digest, manifest_bytes=500, model=MODEL, version=2,
        rollout_id=key[0], attempt=key[1],
    )  # fmt: skip
    stale = is_stale(said.model_dump_json(), NEW, spared)
    assert stale is (digest == NEW and key not in spared)
    assert is_stale(None, NEW, spared) is False
