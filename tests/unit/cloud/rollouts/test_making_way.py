"""A revoked build makes way at a device whose slot desires nothing, and the hub follows."""

from __future__ import annotations

from typing import Any

import pytest

from cloud.registry import service as registry
from cloud.rollouts.running.going_back import settled_on
from protocol.states import TERMINAL_EXECUTION_STATES
from protocol.states import ExecutionState as S
from tests.fixtures.registered import add_version
from tests.simulation.rollouts.builds import IDENTITY
from tests.unit.cloud.rollouts.conftest import ADMIN, MODEL, Hub
from tests.unit.cloud.rollouts.test_before import NEW, NEWEST, OLD, said
from tests.unit.cloud.rollouts.test_leaving import REVOKED, before, pin, rolled, say, walked, went
from tests.unit.cloud.rollouts.test_policies import reported, slot, walk


def brought(hub: Hub, version: int) -> str:
    rollout_id = rolled(hub, version)
    say(hub, *walked(slot(hub, "dev-0"), hub.now))
    hub.now += 10
    return rollout_id


@pytest.fixture(params=[S.DOWNLOADING, S.PROBATION])
def revoked(hub: Hub, request: pytest.FixtureRequest) -> str:
    """Version 3 served, then 1; a floor above that and version 2, which comes, ends the latter.
    The rollout of version 3."""
    with hub.database.transaction() as session:
        add_version(session, MODEL, 3, NEWEST, IDENTITY)
    rollout_id = brought(hub, 3)
    brought(hub, 1)
    rolled(hub, 2)
    walk(hub, "dev-0", request.param)
    wanted = slot(hub, "dev-0")
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 3)
    hub.settle()
    if request.param is S.PROBATION:
        say(hub, *walked(wanted, hub.now, [S.ROLLED_BACK]))
    assert MODEL not in hub.published.desired("dev-0")[-1].slots
    return rollout_id


def test_what_takes_over_is_desired_and_is_what_was_before(hub: Hub, revoked: str) -> None:
    hub.now += 5
    say(hub, went(hub.now, REVOKED, left=OLD, serves=NEWEST))
    wanted = slot(hub, "dev-0")
    assert (wanted.bundle_digest, wanted.rollout_id, wanted.floor) == (NEWEST, revoked, 3)
    newer = rolled(hub, 3)
    assert before(hub, newer) == (revoked, 3)


@pytest.mark.parametrize("serves", [NEW, "9" * 64])
def test_what_may_not_serve_is_not_desired(hub: Hub, revoked: str, serves: str) -> None:
    say(hub, went(hub.now + 5, REVOKED, left=OLD, serves=serves))
    assert MODEL not in hub.published.desired("dev-0")[-1].slots


def test_a_pin_stands(hub: Hub, revoked: str) -> None:
    pin(hub, 3)
    wanted = slot(hub, "dev-0")
    say(hub, went(hub.now + 5, REVOKED, left=OLD, serves=NEWEST))
    assert slot(hub, "dev-0") == wanted


def test_what_runs_where_nothing_is_desired_is_what_was_before(hub: Hub, revoked: str) -> None:
    """Also by the report alone, where the word was lost."""
    reported(hub, said(S.CANCELED, NEWEST, bundle_digest=NEW), hub.now + 1)
    newer = rolled(hub, 3)
    assert before(hub, newer) == (None, 3)


@pytest.mark.parametrize("state", sorted(S))
def test_what_serves_where_nothing_is_desired_is_told_once_nothing_is_under_way(state: S) -> None:
    over = state in TERMINAL_EXECUTION_STATES
    assert settled_on(said(state)) == (OLD if over else None)
    of_what_runs: dict[str, Any] = {"bundle_digest": OLD}
    assert settled_on(said(state, **of_what_runs)) == (OLD if state is S.SUCCEEDED else None)
    assert settled_on(None) is None
