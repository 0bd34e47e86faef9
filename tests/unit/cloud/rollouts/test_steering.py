"""What people do with a rollout: answers, forcing, giving up, and what is left of it in writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.errors import ConflictError, ForbiddenError, InvalidError
from cloud.fleet import service as fleet
from cloud.rollouts import service
from cloud.rollouts.models import Rollout, RolloutGate
from cloud.rollouts.states import Asks, RolloutState
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts.conftest import Hub

PAUL = Principal(PrincipalKind.USER, "paul", Role.APPROVER)
OLGA = Principal(PrincipalKind.USER, "olga", Role.OPERATOR)
TWO_WAVES: list[dict[str, Any]] = [{"count": 2}, {"percent": 100}]


def do(hub: Hub, verb: Callable[..., Rollout], rollout_id: str, *args: Any, **named: Any) -> None:
    by = named.pop("by", PAUL)
    with hub.database.transaction() as session:
        verb(session, by, rollout_id, *args, **named)


def ask(hub: Hub, rollout_id: str, asks: Asks) -> None:
    """As the engine writes it, when something holds the rollout."""
    with hub.database.transaction() as session:
        rollout = session.get_one(Rollout, rollout_id)
        rollout.asks = asks.value
        session.add(rollout)


def looked(hub: Hub, rollout_id: str, verdict: str, wave: int = 0, look: int = 1) -> None:
    with hub.database.transaction() as session:
        session.add(
            RolloutGate(
                rollout_id=rollout_id, wave=wave, look=look, at=hub.now, settled=True,
                verdict=verdict, reason="measured", figures={"frames": 9},
            )
        )  # fmt: skip


def looks(hub: Hub, rollout_id: str) -> list[RolloutGate]:
    with hub.database.reading() as session:
        return list(service.gates(session, PAUL, rollout_id, limit=99))


def written(hub: Hub, rollout_id: str) -> list[tuple[str, str, str]]:
    """What people left in the journal."""
    with hub.database.reading() as session:
        entries = service.journal(session, PAUL, rollout_id, limit=99)
        return [(e.kind, e.by, e.text) for e in entries if e.by in ("paul", "olga")]


def touched(hub: Hub) -> set[str]:
    """Devices that the engine is told to look at again; forgotten with this."""
    with hub.database.transaction() as session:
        seen = fleet.changed(session, 999)
        fleet.forget(session, seen)
        return set(seen)


def test_what_is_not_asked_is_not_approved(hub: Hub) -> None:
    rollout_id = hub.create()
    with pytest.raises(ConflictError, match=r"is under way .* asks for no approval"):
        do(hub, service.approve, rollout_id)
    assert written(hub, rollout_id) == []


def test_an_approval_starts_the_rollout_and_is_written_down(hub: Hub) -> None:
    rollout_id = hub.create(needs_approval=True)
    assert hub.rollout(rollout_id).asks == Asks.APPROVAL
    with pytest.raises(ForbiddenError):
        do(hub, service.approve, rollout_id, "fine", by=OLGA)
    do(hub, service.approve, rollout_id, "fine")
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.asks) == (RolloutState.RUNNING, None)
    assert written(hub, rollout_id) == [("approved", "paul", "fine")]
    with pytest.raises(ConflictError):
        do(hub, service.approve, rollout_id, "twice")


def test_a_wave_that_is_asked_for_is_approved_by_its_number(hub: Hub) -> None:
    waves = [{"count": 1, "needs_approval": True}, {"count": 1}, {"percent": 100}]
    waves[2]["needs_approval"] = True
    rollout_id = hub.create(waves=waves)
    ask(hub, rollout_id, Asks.WAVE)
    do(hub, service.approve, rollout_id)
    assert hub.rollout(rollout_id).approved_waves == [0]
    with hub.database.transaction() as session:
        session.get_one(Rollout, rollout_id).wave = 1
    ask(hub, rollout_id, Asks.WAVE)
    do(hub, service.approve, rollout_id, "the rest")
    rollout = hub.rollout(rollout_id)
    assert (rollout.approved_waves, rollout.asks) == ([0, 2], None)
    assert rollout.revision == 2


def test_a_gate_without_a_verdict_is_answered_at_its_last_look(hub: Hub) -> None:
    rollout_id = hub.create(waves=TWO_WAVES, gates={})
    for look in (1, 2):
        looked(hub, rollout_id, "INCONCLUSIVE", look=look)
    ask(hub, rollout_id, Asks.GATE)
    do(hub, service.approve, rollout_id, "seen with my own eyes")
    first, second = looks(hub, rollout_id)
    assert first.answered_by is None
    assert (second.answered_by, second.remark) == ("paul", "seen with my own eyes")
    assert hub.rollout(rollout_id).wave == 0  # the engine opens the next one


def test_force_opens_the_next_wave_whatever_the_gate_says(hub: Hub) -> None:
    rollout_id = hub.create(waves=TWO_WAVES, gates={})
    looked(hub, rollout_id, "FAIL")
    do(hub, service.pause, rollout_id, by=OLGA)
    with pytest.raises(ForbiddenError):
        do(hub, service.force, rollout_id, "on", by=OLGA)
    with pytest.raises(InvalidError, match="remark: nobody goes past a gate") as refused:
        do(hub, service.force, rollout_id, "  ")
    assert refused.value.remedy
    do(hub, service.force, rollout_id, "it is the light")
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.wave, rollout.approved_waves) == ("PAUSED", 1, [1])
    assert looks(hub, rollout_id)[0].answered_by == "paul"
    assert written(hub, rollout_id)[-1] == ("forced", "paul", "it is the light")


def test_force_said_twice_opens_one_wave(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 1}, {"count": 1}, {"percent": 100}], gates={})
    hub.settle()
    do(hub, service.force, rollout_id, "no time")
    with pytest.raises(ConflictError, match=r"wave 2 .* was opened by force") as refused:
        do(hub, service.force, rollout_id, "no time")
    assert "--wave 2" in refused.value.remedy
    do(hub, service.force, rollout_id, "no time", 0)  # past: nothing is done, nothing refused
    assert hub.rollout(rollout_id).wave == 1
    with pytest.raises(ConflictError, match=r"wave 3 .* is not open yet"):
        do(hub, service.force, rollout_id, "no time", 2)
    do(hub, service.force, rollout_id, "that one, too", 1)
    assert hub.rollout(rollout_id).wave == 2
    assert [entry[0] for entry in written(hub, rollout_id)] == ["forced", "forced"]


def test_force_needs_no_number_once_a_device_of_the_wave_has_ended(hub: Hub) -> None:
    rollout_id = hub.create(waves=[{"count": 1}, {"count": 1}, {"percent": 100}], gates={})
    hub.settle()
    (first,) = started(hub, rollout_id)
    do(hub, service.force, rollout_id, "no time")
    hub.settle(20)
    (second,) = {*started(hub, rollout_id)} - {first}
    hub.succeed(second)
    do(hub, service.force, rollout_id, "still no time")
    assert hub.rollout(rollout_id).wave == 2


def test_force_lets_the_last_wave_finish_where_a_gate_holds_it(hub: Hub) -> None:
    rollout_id = hub.create(gates={}, devices=["dev-0"])
    do(hub, service.force, rollout_id, "no time to measure")
    (row,) = looks(hub, rollout_id)
    assert (row.verdict, row.answered_by) == ("INCONCLUSIVE", "paul")
    assert row.reason == "let pass before anything was measured"
    with pytest.raises(ConflictError, match="last wave, and no gate holds it"):
        do(hub, service.force, rollout_id, "again")


@pytest.mark.parametrize("state", ["WAITING_FOR_APPROVAL", "STOPPING", "last wave", "asks wave"])
def test_force_is_refused_where_there_is_nothing_to_force(hub: Hub, state: str) -> None:
    asks = {"needs_approval": True} if state == "WAITING_FOR_APPROVAL" else {}
    waves = [] if state == "last wave" else TWO_WAVES
    if state == "asks wave":
        waves = [{"count": 2, "needs_approval": True}, {"percent": 100}]
    rollout_id = hub.create(waves=waves, **asks)
    if state == "STOPPING":
        do(hub, service.cancel, rollout_id)
    if state == "asks wave":
        ask(hub, rollout_id, Asks.WAVE)
    with pytest.raises(ConflictError) as refused:
        do(hub, service.force, rollout_id, "because")
    assert refused.value.remedy
    assert hub.rollout(rollout_id).wave == 0


def test_resuming_acknowledges_what_has_failed_and_has_it_looked_at(hub: Hub) -> None:
    rollout_id = hub.create(waves=TWO_WAVES)
    hub.settle()
    started = sorted(key[0] for key, row in hub.executions(rollout_id).items() if row.started_at)
    hub.report(started[0], ExecutionState.FAILED)
    do(hub, service.pause, rollout_id, "let me see")
    touched(hub)
    do(hub, service.resume, rollout_id, "it was the cable", by=OLGA)
    assert touched(hub) == {started[0]}
    rows = hub.executions(rollout_id)
    assert [key[0] for key, row in rows.items() if row.acknowledged] == started[:1]
    assert hub.rollout(rollout_id).reason == "resumed by olga: it was the cable"
    assert [entry[0] for entry in written(hub, rollout_id)] == ["paused", "resumed"]


@pytest.mark.parametrize("revert", [True, False])
def test_abort_says_whether_what_was_before_comes_back(hub: Hub, revert: bool) -> None:
    rollout_id = hub.create()
    ask(hub, rollout_id, Asks.GATE)
    do(hub, service.abort, rollout_id, revert=revert, remark="bad light")
    rollout = hub.rollout(rollout_id)
    assert (rollout.state, rollout.reverting, rollout.asks) == ("STOPPING", revert, None)
    assert rollout.reason == "aborted by paul: bad light"


def test_a_rollout_that_stops_may_still_be_reverted_but_once(hub: Hub) -> None:
    rollout_id = hub.create()
    do(hub, service.cancel, rollout_id, "stop")
    do(hub, service.abort, rollout_id, revert=True, remark="and back")
    assert hub.rollout(rollout_id).reverting
    for revert in (True, False):
        with pytest.raises(ConflictError, match="STOPPING"):
            do(hub, service.abort, rollout_id, revert=revert)
    assert hub.rollout(rollout_id).reverting
    assert [entry[0] for entry in written(hub, rollout_id)] == ["cancelled", "aborted"]


def test_a_refused_verb_leaves_no_trace(hub: Hub) -> None:
    rollout_id = hub.create(devices=["dev-0"])
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    before = hub.rollout(rollout_id).revision
    for verb in (service.pause, service.resume, service.cancel):
        with pytest.raises(ConflictError, match="FINISHED"):
            do(hub, verb, rollout_id, "too late")
    assert written(hub, rollout_id) == []
    assert hub.rollout(rollout_id).revision == before


def started(hub: Hub, rollout_id: str) -> list[str]:
    return sorted(key[0] for key, row in hub.executions(rollout_id).items() if row.started_at)


def test_past_a_fail_it_goes_by_force_and_resume_alone(hub: Hub) -> None:
    """Against the engine itself: resumed it pauses again, and forced it opens the next wave."""
    rollout_id = hub.create(waves=TWO_WAVES, gates={"on_fail": "pause"})
    hub.settle()
    for device_id in started(hub, rollout_id):
        hub.succeed(device_id)
    hub.settle()
    looked(hub, rollout_id, "FAIL", look=99)
    hub.settle(1)
    assert hub.rollout(rollout_id).state == "PAUSED"
    do(hub, service.resume, rollout_id, "let me try", by=OLGA)
    hub.settle(1)
    assert (hub.rollout(rollout_id).state, len(started(hub, rollout_id))) == ("PAUSED", 2)

    do(hub, service.force, rollout_id, "the light changed")
    hub.settle(1)
    assert len(started(hub, rollout_id)) == 2
    do(hub, service.resume, rollout_id, by=OLGA)
    hub.settle(1)

    assert (hub.rollout(rollout_id).wave, len(started(hub, rollout_id))) == (1, 6)


def test_each_wave_that_asks_is_opened_by_a_person(hub: Hub) -> None:
    waves = [{"count": 1, "needs_approval": True}, {"percent": 100, "needs_approval": True}]
    rollout_id = hub.create(waves=waves)
    hub.settle()
    assert (hub.rollout(rollout_id).asks, started(hub, rollout_id)) == (Asks.WAVE, [])
    do(hub, service.approve, rollout_id, "the first")
    hub.settle()
    (first,) = started(hub, rollout_id)
    hub.succeed(first)
    hub.settle(1)
    assert (hub.rollout(rollout_id).asks, started(hub, rollout_id)) == (Asks.WAVE, [first])
    do(hub, service.approve, rollout_id, "and the rest")
    hub.settle(1)
    assert len(started(hub, rollout_id)) == 6


def test_a_device_that_comes_to_fit_joins_a_continuous_rollout(hub: Hub) -> None:
    rollout_id = hub.create(selector="line=a", continuous=True, waves=TWO_WAVES[:1])
    hub.settle()
    assert started(hub, rollout_id) == ["dev-0", "dev-1"]
    for device_id in ("dev-0", "dev-1"):
        hub.succeed(device_id)
    hub.settle(1)
    with hub.database.transaction() as session:
        service.pin(session, PAUL, "dev-4", "caps", version=2)
        for device_id in ("dev-3", "dev-4"):
            fleet.describe(session, PAUL, device_id, {"labels": {"line": "a"}})
    hub.settle(1)
    assert started(hub, rollout_id) == ["dev-0", "dev-1", "dev-3"]
    assert hub.rollout(rollout_id).state == "RUNNING"


def test_a_verb_that_does_not_fit_says_what_the_rollout_does_and_what_fits(hub: Hub) -> None:
    rollout_id = hub.create()
    with pytest.raises(ConflictError, match=r"is under way .* cannot be resumed") as refused:
        do(hub, service.resume, rollout_id)
    assert f"`argosy rollout pause {rollout_id}`" in refused.value.remedy
    do(hub, service.pause, rollout_id)
    with pytest.raises(ConflictError, match=r"is paused .* cannot be paused") as refused:
        do(hub, service.pause, rollout_id)
    assert f"`argosy rollout resume {rollout_id}`" in refused.value.remedy
    do(hub, service.cancel, rollout_id)
    with pytest.raises(ConflictError, match=r"being given up .* cannot be given up") as refused:
        do(hub, service.cancel, rollout_id)
    assert f"`argosy rollout watch {rollout_id}`" in refused.value.remedy
