"""Who alone may act, and when another engine takes over."""

from __future__ import annotations

import pytest

from cloud.fleet import service as fleet
from cloud.rollouts.running import lease
from cloud.rollouts.running.engine import Engine
from cloud.rollouts.running.lease import Candidate, LeaseLost, Term
from tests.unit.cloud.rollouts.conftest import Hub

LEASE_S = 10.0


def hold(hub: Hub, owner: str, now: float, looked_at: Term | None) -> Term:
    with hub.database.transaction() as session:
        return lease.hold(session, owner, now, LEASE_S, looked_at)


def may_lead(hub: Hub, candidate: Candidate, now: float) -> bool:
    with hub.database.reading() as session:
        return candidate.may_lead(session, lease.seen(session), now)


def test_it_is_prolonged_once_half_is_over_and_written_no_sooner(hub: Hub) -> None:
    assert hold(hub, "a", 0, None) == Term("a", 10)
    assert hold(hub, "a", 4, None) == Term("a", 10)
    assert hold(hub, "a", 5, None) == Term("a", 15)


def test_what_has_run_out_is_taken_only_as_it_was_seen(hub: Hub) -> None:
    first = hold(hub, "a", 0, None)
    with pytest.raises(LeaseLost):
        hold(hub, "b", 9, first)
    with pytest.raises(LeaseLost):
        hold(hub, "b", 11, None)
    taken = hold(hub, "b", 11, first)
    assert taken == Term("b", 21)
    with pytest.raises(LeaseLost):
        hold(hub, "c", 22, first)
    with pytest.raises(LeaseLost):
        hold(hub, "a", 12, first)


def test_an_owner_keeps_what_has_run_out_while_nobody_takes_it(hub: Hub) -> None:
    hold(hub, "a", 0, None)
    assert hold(hub, "a", 1000, None) == Term("a", 1010)


def test_one_that_has_just_begun_takes_over_what_has_run_out(hub: Hub) -> None:
    hold(hub, "a", 0, None)
    begun = Candidate("b", LEASE_S)
    assert not may_lead(hub, begun, 9)
    assert may_lead(hub, begun, 10)


def led_and_lost(hub: Hub) -> Candidate:
    """A candidate that has led before another one did."""
    hold(hub, "a", 0, None)
    candidate = Candidate("a", LEASE_S)
    assert may_lead(hub, candidate, 0)
    hold(hub, "b", 11, Term("a", 10))
    return candidate


def test_at_rest_nobody_takes_over_from_one_that_is_silent(hub: Hub) -> None:
    candidate = led_and_lost(hub)
    with hub.database.transaction() as session:
        fleet.forget(session, fleet.changed(session, 99))
    assert not any(may_lead(hub, candidate, now) for now in range(12, 1000, 50))


def test_changes_that_nobody_reads_tell_that_it_is_gone(hub: Hub) -> None:
    candidate = led_and_lost(hub)
    assert not may_lead(hub, candidate, 30)  # enrolled devices are changes, seen for the first time
    assert not may_lead(hub, candidate, 40)
    assert may_lead(hub, candidate, 41)


def test_changes_that_are_read_tell_that_it_is_there(hub: Hub) -> None:
    candidate = led_and_lost(hub)
    for now in range(30, 200, 5):
        assert not may_lead(hub, candidate, now)
        with hub.database.transaction() as session:
            fleet.forget(session, fleet.changed(session, 1))
            fleet.touch(session, [f"dev-{now % 6}"])


def test_a_rollout_under_way_is_not_left_waiting(hub: Hub) -> None:
    candidate = led_and_lost(hub)
    with hub.database.transaction() as session:
        fleet.forget(session, fleet.changed(session, 99))
    hub.create()
    assert not may_lead(hub, candidate, 20)
    assert may_lead(hub, candidate, 22)


def test_one_that_waits_for_an_approver_is_not_under_way(hub: Hub) -> None:
    candidate = led_and_lost(hub)
    hub.create(needs_approval=True)
    with hub.database.transaction() as session:
        fleet.forget(session, fleet.changed(session, 99))
    assert not may_lead(hub, candidate, 22)


def test_an_engine_prolongs_its_lease_while_a_rollout_is_under_way(hub: Hub) -> None:
    hub.create()
    hub.settle()
    other = Engine(hub.database, 1.0)
    for _ in range(10):
        hub.settle(4)
        assert not other.tick(hub.now)
    with hub.database.reading() as session:
        term = lease.seen(session)
    assert term is not None
    assert term.expires_at > hub.now
