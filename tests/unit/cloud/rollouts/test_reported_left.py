"""A device's report says that what its slot desires was left there for good."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.fleet import inbound
from cloud.fleet import service as fleet
from cloud.inbound import Received
from cloud.registry.models import Build
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.running import leaving
from cloud.rollouts.running.going_back import left_for_good
from protocol.messages import Reported, SlotReported, encode
from protocol.states import TERMINAL_EXECUTION_STATES
from protocol.states import ExecutionState as S
from protocol.topics import Kind, Topic
from tests.simulation.rollouts.builds import ABLE
from tests.unit.cloud.rollouts.conftest import ADMIN, MODEL, Hub
from tests.unit.cloud.rollouts.test_acting import revert
from tests.unit.cloud.rollouts.test_before import DESIRED, NEW, NEWEST, OLD, said, serving_old
from tests.unit.cloud.rollouts.test_leaving import before, pin, rolled, unpin
from tests.unit.cloud.rollouts.test_policies import slot

FOR_GOOD = [S.REJECTED, S.ROLLED_BACK, S.NO_ARTIFACT]


def report(hub: Hub, shown: SlotReported) -> None:
    message = Reported(
        device_id="dev-0", boot_id="boot", session_epoch=1, agent_version="0.1.0",
        desired_generation=1, slots={MODEL: shown}, capabilities=ABLE, reported_at=hub.now + 1,
    )  # fmt: skip
    received = Received(Topic(Kind.REPORTED, device_id="dev-0"), encode(message), message, hub.now)
    with hub.database.transaction() as session:
        inbound.store_reports(session, [received], on_other=[leaving.on_report])
    hub.settle()


def over(hub: Hub, state: S, running: str, **other: Any) -> SlotReported:
    """The device's word that what is desired of it is over, and another build runs."""
    wanted = slot(hub, "dev-0")
    key = {"rollout_id": wanted.rollout_id, "attempt": wanted.attempt}
    found = said(state, running, bundle_digest=wanted.bundle_digest, **key)
    last = found.execution
    assert last is not None
    return found.model_copy(update={"execution": last.model_copy(update=other)})


@pytest.fixture
def brought(hub: Hub) -> str:
    """Version 1 serves, then version 2, whose rollout this is; and there is a version 3."""
    serving_old(hub)
    hub.now += 10
    rollout_id = hub.create(devices=["dev-0", "dev-1"], version=2)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    report(hub, over(hub, S.SUCCEEDED, NEW))
    return rollout_id


@pytest.fixture
def wished(hub: Hub, brought: str) -> str:
    """Version 1 is desired by a person at the hub, outside of rollouts."""
    wanted = slot(hub, "dev-0")
    own = {"bundle_digest": OLD, "version": 1, "rollout_id": None, "attempt": 99}
    with hub.database.transaction() as session:
        fleet.set_slot(session, ADMIN, "dev-0", MODEL, wanted.model_copy(update=own))
    return brought


@pytest.mark.parametrize("state", sorted(S))
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_person_or_the_proof_leaves_a_build_for_good(state: S, by_hand: bool) -> None:
    serving = left_for_good(DESIRED, said(state, by_hand=by_hand))
    ended = state in TERMINAL_EXECUTION_STATES
    assert serving == (OLD if ended and (by_hand or state in FOR_GOOD) else None)
    assert left_for_good(DESIRED, None) is None


@pytest.mark.parametrize(
    ("state", "by_hand"), [(S.CANCELED, True), *((state, False) for state in FOR_GOOD)]
)
def test_what_stays_is_desired_where_no_rollout_heard_of_it(
    hub: Hub, wished: str, state: S, by_hand: bool
) -> None:
    report(hub, over(hub, state, NEW, by_hand=by_hand))
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id, wanted.attempt) == (NEW, wished, 1)
    sent = len(hub.published.desired("dev-0"))
    report(hub, over(hub, S.SUCCEEDED, NEW))
    assert slot(hub, "dev-0") == wanted
    assert len(hub.published.desired("dev-0")) <= sent + 1, "it is told again, and nothing new"


@pytest.mark.parametrize("state", [S.CANCELED, S.FAILED, S.TIMED_OUT, S.SUPERSEDED])
def test_what_may_pass_changes_nothing(hub: Hub, wished: str, state: S) -> None:
    report(hub, over(hub, state, NEW))
    assert slot(hub, "dev-0").bundle_digest == OLD


def test_who_went_back_where_the_word_of_it_was_lost(hub: Hub, brought: str) -> None:
    shown = over(hub, S.SUCCEEDED, OLD).model_copy(update={"by_hand": True})
    report(hub, shown)
    assert slot(hub, "dev-0").bundle_digest == OLD
    row = hub.executions(brought)["dev-0", 1]
    assert (row.diverged, row.by_hand) == (True, True)
    assert row.reason == f"runs {OLD}, somebody at the device went back"


def test_a_build_that_failed_on_a_new_disk_has_diverged(hub: Hub, brought: str) -> None:
    report(hub, over(hub, S.REJECTED, OLD))
    assert slot(hub, "dev-0").bundle_digest == OLD
    row = hub.executions(brought)["dev-0", 1]
    assert (row.diverged, row.by_hand) == (True, False)


def test_an_attempt_that_is_open_is_its_rollouts_matter(hub: Hub, brought: str) -> None:
    newer = rolled(hub, 3)
    report(hub, over(hub, S.REJECTED, NEW))
    assert (slot(hub, "dev-0").bundle_digest, slot(hub, "dev-0").rollout_id) == (NEWEST, newer)


def test_a_pin_stands(hub: Hub, brought: str) -> None:
    pin(hub, 3)
    wanted = slot(hub, "dev-0")
    report(hub, over(hub, S.CANCELED, NEW, by_hand=True))
    assert slot(hub, "dev-0") == wanted
    assert unpin(hub) == NEW


def test_what_another_rollout_has_recorded_is_put_right(hub: Hub, wished: str) -> None:
    with hub.database.transaction() as session:
        row = session.get_one(Execution, (wished, "dev-1", 1))
        assert row.state == S.QUEUED.value
        open_row = {**row.model_dump(), "device_id": "dev-0", "attempt": 2}
        session.add(Execution(**{**open_row, "before": slot(hub, "dev-0").model_dump_json()}))
    report(hub, over(hub, S.CANCELED, NEW, by_hand=True))
    assert before(hub, wished, 2) == (None, 2)


@pytest.mark.parametrize("state", ["REJECTED", None])
def test_what_serves_and_may_not_is_left_running(hub: Hub, wished: str, state: str | None) -> None:
    with hub.database.transaction() as session:
        build = session.get_one(Build, NEW)
        if state is None:
            session.delete(build)
        else:
            build.state = state
    report(hub, over(hub, S.CANCELED, NEW, by_hand=True))
    assert MODEL not in hub.published.desired("dev-0")[-1].slots


def test_a_build_that_is_taken_back_and_kept_by_a_person_is_a_wish(hub: Hub, brought: str) -> None:
    """Else it would be gone back from again where a newer rollout fails."""
    revert(hub, brought)
    hub.succeed("dev-0")
    hub.settle()
    shown = over(hub, S.SUCCEEDED, NEW).model_copy(update={"by_hand": True})
    report(hub, shown)
    assert (slot(hub, "dev-0").bundle_digest, slot(hub, "dev-0").rollout_id) == (NEW, None)
    with hub.database.reading() as session:
        assert session.get_one(Rollout, brought).reverting
    rolled(hub, 3)
    hub.report("dev-0", S.REJECTED, "golden frames differ")
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == NEW
