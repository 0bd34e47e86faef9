"""Pins: one device is held at a build, no rollout touches it, and it comes back to what it had."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.errors import ConflictError, ForbiddenError, HubError, NotFoundError
from cloud.registry import service as registry
from cloud.registry.models import Build
from cloud.rollouts import service
from cloud.rollouts.models import DevicePin
from protocol.messages import SlotDesired
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub

OLGA = Principal(PrincipalKind.USER, "olga", Role.OPERATOR)


def pin(hub: Hub, device_id: str = "dev-0", **asked: Any) -> DevicePin:
    with hub.database.transaction() as session:
        return service.pin(session, OLGA, device_id, MODEL, **asked)


def unpin(hub: Hub, device_id: str = "dev-0") -> tuple[str | None, str]:
    with hub.database.transaction() as session:
        return service.unpin(session, OLGA, device_id, MODEL, "done")


def slot(hub: Hub, device_id: str = "dev-0") -> SlotDesired:
    return hub.published.desired(device_id)[-1].slots[MODEL]


def given(hub: Hub, device_id: str = "dev-0", version: int = 1) -> str:
    """A finished rollout that brought the version to the device."""
    rollout_id = hub.create(version=version, devices=[device_id])
    hub.settle()
    hub.succeed(device_id)
    hub.runs(device_id, DIGESTS[version])
    hub.settle()
    assert hub.rollout(rollout_id).outcome == "SUCCEEDED"
    return rollout_id


def kinds(hub: Hub, rollout_id: str) -> list[str]:
    with hub.database.reading() as session:
        entries = service.journal(session, ADMIN, rollout_id, limit=99)
        return [entry.kind for entry in entries if entry.by == "olga"]


def test_a_pinned_device_is_told_the_build_and_goes_back_when_it_is_let_go(hub: Hub) -> None:
    rollout_id = given(hub)
    row = pin(hub, version=2, remark="under test")
    assert (row.digest, row.version, row.by) == (DIGESTS[2], 2, "olga")
    assert (slot(hub).bundle_digest, slot(hub).rollout_id) == (DIGESTS[2], None)

    assert unpin(hub) == (DIGESTS[1], "")

    back = slot(hub)
    assert (back.bundle_digest, back.rollout_id, back.version) == (DIGESTS[1], rollout_id, 1)
    assert back.attempt == 2
    with hub.database.reading() as session:
        assert service.pins(session, ADMIN) == []
    with pytest.raises(NotFoundError, match="caps is not pinned on device dev-0"):
        unpin(hub)


def test_the_same_build_asked_for_again_is_another_attempt(hub: Hub) -> None:
    """A device keeps what became of an attempt, and would not try the same one again."""
    attempts = []
    for _ in range(2):
        pin(hub, version=2)
        attempts.append(slot(hub).attempt)
        unpin(hub)
        given(hub, version=1)
    assert attempts[0] != attempts[1]


def test_pinned_again_it_comes_back_to_what_was_before_the_first_pin(hub: Hub) -> None:
    given(hub)
    pin(hub, version=2)
    pin(hub, version=1, remark="other")
    pin(hub, version=2)
    assert unpin(hub) == (DIGESTS[1], "")


def test_no_rollout_takes_a_pinned_device_and_it_is_said(hub: Hub) -> None:
    pin(hub, version=2, remark="under test")
    sent = len(hub.published.desired("dev-0"))
    rollout_id = hub.create()
    hub.settle()
    assert len(hub.published.desired("dev-0")) == sent
    assert sorted(key[0] for key in hub.executions(rollout_id)) == [f"dev-{n}" for n in range(1, 6)]
    with hub.database.reading() as session:
        created = service.journal(session, ADMIN, rollout_id, limit=1)[0]
    assert created.detail["pinned"] == ["dev-0"]


@pytest.mark.parametrize("started", [True, False])
def test_an_attempt_that_a_pin_meets_ends_superseded_by_name(hub: Hub, started: bool) -> None:
    given(hub)
    waves = [{"selector": "device=dev-0" if started else "device=dev-1"}, {"percent": 100}]
    rollout_id = hub.create(version=2, waves=waves)
    hub.settle()
    if started:
        hub.report("dev-0", ExecutionState.DOWNLOADING)

    pin(hub)
    hub.settle()

    row = hub.executions(rollout_id)["dev-0", 1]
    assert (row.state, row.reason) == ("SUPERSEDED", "pinned by olga")
    assert slot(hub).bundle_digest == DIGESTS[1]
    assert (slot(hub).rollout_id is None) or not started
    assert kinds(hub, rollout_id) == ["pinned"]
    assert unpin(hub)[0] == DIGESTS[1]
    assert kinds(hub, rollout_id) == ["pinned", "unpinned"]
    hub.settle()
    assert slot(hub).bundle_digest == DIGESTS[1]


def test_a_named_build_is_asked_for_anew_and_its_rollout_has_it_again(hub: Hub) -> None:
    """Somebody at the device may have left it, and the hub hears of that when it is back."""
    given(hub)
    had = slot(hub)
    pin(hub, version=1)
    asked = slot(hub)
    assert (asked.bundle_digest, asked.rollout_id) == (had.bundle_digest, None)
    assert asked.attempt != had.attempt
    assert unpin(hub) == (DIGESTS[1], "")
    assert slot(hub) == had


def test_pinned_where_it_is_nothing_is_sent(hub: Hub) -> None:
    """Without a name it is held at what it runs."""
    given(hub)
    sent = len(hub.published.desired("dev-0"))
    assert pin(hub).digest == DIGESTS[1]
    assert unpin(hub) == (DIGESTS[1], "")
    assert len(hub.published.desired("dev-0")) == sent


@pytest.mark.parametrize(
    ("barred", "said"),
    [
        ("floor", "caps v1, which was before, is below the model's floor"),
        ("rejected", "caps v1, which was before, has been rejected"),
        ("deleted", "caps v1, which was before, has been deleted"),
    ],
)
def test_what_may_not_serve_any_more_does_not_come_back(hub: Hub, barred: str, said: str) -> None:
    given(hub)
    pin(hub, version=2)
    with hub.database.transaction() as session:
        if barred == "floor":
            registry.set_floor(session, ADMIN, MODEL, 2, reason="v1 is blind")
        elif barred == "rejected":
            session.get_one(Build, DIGESTS[1]).state = "REJECTED"
        else:
            session.delete(session.get_one(Build, DIGESTS[1]))
    assert unpin(hub) == (None, said)
    assert slot(hub).bundle_digest == DIGESTS[2]


def test_where_nothing_was_desired_before_nothing_is_again(hub: Hub) -> None:
    pin(hub, version=2)
    assert unpin(hub) == (None, "nothing was desired before the pin, so nothing is")
    assert hub.published.desired("dev-0")[-1].slots == {}


@pytest.mark.parametrize(
    ("device_id", "asked", "said"),
    [
        ("ghost", {"version": 1}, "there is no device ghost"),
        ("shelf", {"version": 1}, "model: device shelf does not run caps"),
        ("dev-0", {"version": 9}, "there is no version 9 of caps"),
        ("dev-0", {"digest": "9" * 64}, "there is no build"),
        ("dev-0", {}, "version: dev-0 has not said that it runs any build of caps"),
    ],
)
def test_what_cannot_be_pinned_is_refused_with_the_remedy(
    hub: Hub, device_id: str, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(HubError, match=said) as refused:
        pin(hub, device_id, **asked)
    assert refused.value.remedy


def test_revoked_and_rejected_builds_are_not_pinned(hub: Hub) -> None:
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2, reason="v1 is blind")
        session.get_one(Build, DIGESTS[2]).state = "REJECTED"
    for asked in ({"version": 1}, {"digest": DIGESTS[1]}):
        with pytest.raises(ConflictError, match="revoked"):
            pin(hub, **asked)
    for rejected in ({"version": 2}, {"digest": DIGESTS[2]}):
        with pytest.raises(HubError, match="rejected"):
            pin(hub, **rejected)


def test_who_only_looks_pins_nothing(hub: Hub) -> None:
    viewer = Principal(PrincipalKind.USER, "vera", Role.VIEWER)
    with hub.database.transaction() as session:
        for verb in (service.pin, service.unpin):
            with pytest.raises(ForbiddenError):
                verb(session, viewer, "dev-0", MODEL)
        assert service.pins(session, viewer) == []


def test_what_is_pinned_is_not_changed_by_hand(hub: Hub, http: TestClient) -> None:
    pin(hub, version=1)
    held = http.get("/devices/dev-0").json()["desired"]["slots"][MODEL]
    other = {**held, "bundle_digest": DIGESTS[2], "version": 2}
    for slots in ({MODEL: other}, {MODEL: None}):
        refused = http.put("/devices/dev-0/desired", json={"slots": slots})
        assert refused.status_code == 409
        said = refused.json()["error"]
        assert "olga has pinned dev-0 to caps v1" in said["message"]
        assert "argosy rollout unpin dev-0 caps" in said["remedy"]
    for change in ({"telemetry_window_s": 9}, {"slots": {MODEL: held, "bottles": other}}):
        assert http.put("/devices/dev-0/desired", json=change).status_code == 200
    unpin(hub)
    assert http.put("/devices/dev-0/desired", json={"slots": {MODEL: other}}).status_code == 200
