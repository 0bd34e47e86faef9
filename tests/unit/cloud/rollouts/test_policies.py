"""Shadow, window, site and floor, from what is asked for to what a device is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.errors import ConflictError, ForbiddenError, NotFoundError
from cloud.fleet import inbound
from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.inbound import Received
from cloud.rollouts import service
from cloud.rollouts.planning.views import Release
from cloud.rollouts.running import acting, telling
from cloud.telemetry import service as telemetry
from protocol.messages import (
    Alert,
    EventReport,
    ExecutionReport,
    Reported,
    SlotDesired,
    SlotReported,
    encode,
)
from protocol.states import ExecutionState
from protocol.topics import Kind, Topic
from tests.simulation.rollouts.builds import ABLE
from tests.simulation.rollouts.devices import PATH
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub

S = ExecutionState
OPERATOR = Principal(PrincipalKind.USER, "olga", Role.OPERATOR)
ONE = {"devices": ["dev-0"]}
ULM = ("dev-0", "dev-1", "dev-2")


def settle_in(hub: Hub, site: str, *device_ids: str, time_zone: str = "Europe/Berlin") -> None:
    """Let devices stand at a new site and be online."""
    with hub.database.transaction() as session:
        fleet.create_site(session, ADMIN, site, time_zone)
        session.flush()
        for device_id in device_ids:
            device = session.get_one(Device, device_id)
            device.site, device.presence = site, "online"
            session.add(device)


def presence(hub: Hub, device_id: str, word: str) -> None:
    with hub.database.transaction() as session:
        device = session.get_one(Device, device_id)
        device.presence, device.last_seen = word, hub.now
        session.add(device)
        fleet.touch(session, [device_id])


def walk(hub: Hub, device_id: str, upto: S) -> None:
    for state in PATH[: PATH.index(upto) + 1]:
        hub.report(device_id, state)


def slot(hub: Hub, device_id: str) -> SlotDesired:
    return hub.published.desired(device_id)[-1].slots[MODEL]


def told(hub: Hub, device_id: str) -> int:
    return len(hub.published.desired(device_id))


def test_a_device_is_told_what_the_rollout_says(hub: Hub) -> None:
    settle_in(hub, "ulm", "dev-0")
    window = {"cron": "0 2 * * *", "duration_s": 7200}
    rollout_id = hub.create(
        shadow={"share": 0.1},
        window=window,
        timeout_s=90_000,
        devices=["dev-0", "dev-1"],
    )
    hub.settle()
    wanted = slot(hub, "dev-0")
    assert wanted.shadow is not None and wanted.window is not None
    assert (wanted.shadow.share, wanted.shadow.accepted, wanted.timeout_s) == (0.1, False, 90_000)
    assert (wanted.window.cron, wanted.window.time_zone) == ("0 2 * * *", "Europe/Berlin")
    elsewhere = slot(hub, "dev-1").window
    assert elsewhere is not None and elsewhere.time_zone == "UTC"
    assert not wanted.hold
    rollout = hub.rollout(rollout_id)
    assert rollout.spec["total_timeout_s"] == 3600 + 3600 + 8 * 86_400
    assert rollout.spec["window"] == {"time_zone": None, **window}


def test_a_rollout_that_says_nothing_asks_for_nothing(hub: Hub) -> None:
    rollout_id = hub.create(**ONE)
    hub.settle()
    wanted = slot(hub, "dev-0")
    assert (wanted.shadow, wanted.window, wanted.hold, wanted.timeout_s) == (None,) * 2 + (
        False,
        None,
    )
    rollout = hub.rollout(rollout_id)
    assert [rollout.spec[k] for k in ("shadow", "window", "total_timeout_s")] == [None, None, 3600]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"shadow": {"shaer": 0.1}}, "shadow.shaer"),
        ({"shadow": {"accepted": True}}, "`argosy rollout accept`"),
        ({"shadow": {"duration_max_s": 3600}, "total_timeout_s": 3600}, "raise it or lower shadow"),
        ({"window": {"cron": "0 2 * * *"}}, "window.duration_s"),
        ({"window": {"cron": "* * * * *", "duration_s": 9, "time_zone": "Mars"}}, "no time zone"),
        ({"window": {"cron": "0 26 * * *", "duration_s": 9}}, "cannot be read"),
        ({"timeout_s": 7200}, "timeout_s: 7200 is above total_timeout_s"),
    ],
)
def test_policies_that_cannot_be_meant_are_refused(
    hub: Hub, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        hub.create(**asked)


def test_a_site_goes_at_one_word_in_one_transaction(hub: Hub) -> None:
    settle_in(hub, "ulm", *ULM)
    rollout_id = hub.create(site_atomic=True, selector="site=ulm")
    hub.settle()
    assert all(slot(hub, device_id).hold for device_id in ULM)
    for device_id in ULM[:2]:
        walk(hub, device_id, S.PREPARED)
    hub.settle(10)
    presence(hub, "dev-1", "offline")
    walk(hub, "dev-2", S.PREPARED)
    hub.settle(10)
    assert all(slot(hub, device_id).hold for device_id in ULM)

    presence(hub, "dev-1", "online")
    hub.settle(10)

    assert [(told(hub, d), slot(hub, d).hold) for d in ULM] == [(2, False)] * 3
    assert {row.released_at for row in hub.executions(rollout_id).values()} == {hub.now}
    with hub.database.transaction() as session:  # as a hub that had been killed would repeat it
        rollout = service.get(session, ADMIN, rollout_id)
        acting.act(session, rollout, Release("ulm", ULM), hub.now + 5)
    hub.settle(10)
    assert [told(hub, d) for d in ULM] == [2, 2, 2]


def test_a_hub_that_dies_over_the_word_gives_it_to_nobody(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_in(hub, "ulm", *ULM)
    hub.create(site_atomic=True, selector="site=ulm")
    hub.settle()
    for device_id in ULM:
        walk(hub, device_id, S.PREPARED)
    release, given = telling.Teller.release, []

    def dies(self: telling.Teller, device: Device) -> bool:
        given.append(device.id)
        if len(given) == 2:
            raise RuntimeError("killed")
        return release(self, device)

    monkeypatch.setattr(telling.Teller, "release", dies)
    with pytest.raises(RuntimeError):
        hub.settle(1)
    assert [told(hub, d) for d in ULM] == [1, 1, 1]
    hub.settle(1)
    assert [slot(hub, d).hold for d in ULM] == [False] * 3


def test_a_device_lost_after_the_word_is_counted_and_not_called_back(hub: Hub) -> None:
    settle_in(hub, "ulm", *ULM)
    rollout_id = hub.create(
        site_atomic=True, selector="site=ulm", step_timeout_s=60, total_timeout_s=600
    )
    hub.settle()
    for device_id in ULM:
        walk(hub, device_id, S.PREPARED)
    hub.settle(1)
    presence(hub, "dev-2", "offline")
    for device_id in ULM[:2]:
        hub.succeed(device_id)
    hub.settle(300)
    assert hub.executions(rollout_id)["dev-2", 1].state == "PREPARED"

    hub.settle(300)

    row = hub.executions(rollout_id)["dev-2", 1]
    ended = hub.rollout(rollout_id)
    assert (row.state, ended.outcome) == ("TIMED_OUT", "PARTIAL")
    assert ended.reason == f"1 of 3 devices TIMED_OUT: {row.reason}"
    assert "follows its site" in row.reason
    assert slot(hub, "dev-2").bundle_digest == DIGESTS[1]


def test_sites_are_not_divided_among_waves(hub: Hub) -> None:
    settle_in(hub, "ulm", *ULM)
    settle_in(hub, "bonn", "dev-3", "dev-4")
    for waves in ([{"count": 1}], [{"percent": 1}, {"percent": 60}, {"percent": 100}]):
        rollout_id = hub.create(site_atomic=True, waves=waves)
        sizes = [
            sum(row.wave == n for row in hub.executions(rollout_id).values())
            for n in range(len(hub.rollout(rollout_id).spec["waves"]))
        ]
        assert all(sizes), "a wave that came to no site is left out"
        wave = {key[0]: row.wave for key, row in hub.executions(rollout_id).items()}
        assert len({wave[d] for d in ULM}) == 1
        assert wave["dev-3"] == wave["dev-4"]


def shadowing(hub: Hub) -> str:
    rollout_id = hub.create(**ONE, shadow={})
    hub.settle()
    walk(hub, "dev-0", S.PROVING)
    hub.report("dev-0", S.SHADOWING)
    return rollout_id


def inconclusive(hub: Hub, state: S = S.SHADOWING) -> ExecutionReport:
    wanted = slot(hub, "dev-0")
    return ExecutionReport(
        rollout_id=wanted.rollout_id,
        attempt=1,
        slot=MODEL,
        bundle_digest=wanted.bundle_digest,
        state=state,
        reason="12 of 200 frames",
        figures={"shadow_inconclusive": 1},
    )


def reported(hub: Hub, shown: SlotReported, at: float) -> None:
    message = Reported(
        device_id="dev-0",
        boot_id="boot",
        session_epoch=1,
        agent_version="0.1.0",
        desired_generation=1,
        slots={MODEL: shown},
        capabilities=ABLE,
        reported_at=at,
    )
    topic = Topic(Kind.REPORTED, device_id="dev-0")
    with hub.database.transaction() as session:
        inbound.store_reports(session, [Received(topic, encode(message), message, hub.now)])


@pytest.mark.parametrize("by_event", [True, False])
def test_a_person_accepts_a_shadow_without_a_verdict(hub: Hub, by_event: bool) -> None:
    rollout_id = shadowing(hub)
    with pytest.raises(ConflictError, match="asks nobody"):
        accept(hub, rollout_id)
    if by_event:
        assert not hub.tell("dev-0", inconclusive(hub))
    else:
        reported(hub, SlotReported(execution=inconclusive(hub)), hub.now)
    with hub.database.reading() as session, pytest.raises(ForbiddenError):
        service.accept(session, OPERATOR, rollout_id, "dev-0")

    accept(hub, rollout_id)

    wanted = slot(hub, "dev-0")
    assert wanted.shadow is not None and wanted.shadow.accepted
    accept(hub, rollout_id)
    assert told(hub, "dev-0") == 2
    with pytest.raises(NotFoundError):
        accept(hub, rollout_id, "dev-5")


def accept(hub: Hub, rollout_id: str, device_id: str = "dev-0") -> None:
    with hub.database.transaction() as session:
        service.accept(session, ADMIN, rollout_id, device_id)


@pytest.mark.parametrize("by_device", [True, False])
def test_time_that_runs_out_over_a_person_is_no_failure(hub: Hub, by_device: bool) -> None:
    rollout_id = shadowing(hub)
    hub.tell("dev-0", inconclusive(hub))
    presence(hub, "dev-0", "online")
    if by_device:
        hub.tell("dev-0", inconclusive(hub, S.TIMED_OUT))
    hub.settle(7201)

    assert hub.rollout(rollout_id).state == "FINISHED"
    row = hub.executions(rollout_id)["dev-0", 1]
    assert row.state == ("TIMED_OUT" if by_device else "CANCELED")
    assert hub.published.desired("dev-0")[-1].slots == {}


@pytest.mark.parametrize("by_alert", [True, False])
def test_who_went_back_by_hand_gets_no_new_attempt(hub: Hub, by_alert: bool) -> None:
    rollout_id = hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    shown = {"running_digest": DIGESTS[2], **({} if by_alert else {"by_hand": True})}
    if by_alert:
        for number, name in enumerate(("disk_refused", "rolled_back_by_hand")):
            alert(hub, name, f"{MODEL}: from new to old", number + 1)
    reported(hub, SlotReported.model_validate(shown), hub.now + 1)

    hub.settle()
    hub.settle(3600)

    rows = hub.executions(rollout_id)
    assert list(rows) == [("dev-0", 1)]
    assert (rows["dev-0", 1].diverged, rows["dev-0", 1].by_hand) == (True, True)
    hub.create(**ONE, version=2)
    hub.settle()
    assert slot(hub, "dev-0").bundle_digest == DIGESTS[2]


def test_an_alert_that_comes_after_the_report_is_in_time(hub: Hub) -> None:
    rollout_id = hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    reported(hub, SlotReported(running_digest=DIGESTS[2]), hub.now + 1)
    hub.settle()
    assert not hub.executions(rollout_id)["dev-0", 1].by_hand
    alert(hub, "rolled_back_by_hand", f"{MODEL}: from new to old", 1)
    hub.settle(3600)
    assert list(hub.executions(rollout_id)) == [("dev-0", 1)]
    assert hub.executions(rollout_id)["dev-0", 1].by_hand


@pytest.mark.parametrize("said", [{"text": "bottles: back"}, {"text": "-", "slot": "bottles"}])
def test_going_back_in_another_slot_is_no_reason(hub: Hub, said: dict[str, str]) -> None:
    with hub.database.transaction() as session:
        device = session.get_one(Device, "dev-0")
        device.models = [MODEL, "bottles"]
        session.add(device)
    rollout_id = hub.create(**ONE)
    hub.settle()
    hub.succeed("dev-0")
    alert(hub, "rolled_back_by_hand", number=1, **said)
    reported(hub, SlotReported(running_digest=DIGESTS[2]), hub.now + 1)
    hub.settle()
    hub.settle(30)
    assert ("dev-0", 2) in hub.executions(rollout_id)


def test_where_somebody_gave_an_attempt_up_what_they_kept_is_desired(hub: Hub) -> None:
    hub.create(**ONE, version=2)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()
    kept = slot(hub, "dev-0")
    rollout_id = hub.create(**ONE)
    hub.settle()
    walk(hub, "dev-0", S.PREPARED)
    hub.report("dev-0", S.CANCELED, "a person gave it up")
    hub.settle()
    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.by_hand) == ("CANCELED", True)
    assert slot(hub, "dev-0") == kept


def alert(hub: Hub, name: str, text: str, number: int, slot: str | None = None) -> None:
    message = EventReport(
        device_id="dev-0",
        epoch="0" * 32,
        sequence=number,
        at=hub.now + 0.5,
        alert=Alert(name=name, text=text, slot=slot),
    )
    topic = Topic(Kind.EVENTS, device_id="dev-0")
    with hub.database.transaction() as session:
        batch = [Received(topic, encode(message), message, hub.now)]
        assert telemetry.store_events(session, batch, ranges_max=9)["stored"] == 1
