"""Every plan that cannot be meant is refused by its field, with the remedy, and nothing moves."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloud.fleet import service as fleet
from cloud.fleet.models import Device
from cloud.rollouts import service
from cloud.rollouts.request import fitting
from cloud.rollouts.request.spec import RolloutCreate
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, START, Hub

CAPS = {"model": "caps", "version": 1}
DAILY = {"cron": "0 2 * * *", "duration_s": 60}
TENTH = {"kinds": ["FAILED"], "percent": 10}


@pytest.fixture
def ulm(hub: Hub) -> None:
    """dev-0 (of line a), dev-1 (of line a) and dev-2 (of line b) stand at one site."""
    with hub.database.transaction() as session:
        fleet.create_site(session, ADMIN, "ulm", "Europe/Berlin")
        session.flush()
        for device_id in ("dev-0", "dev-1", "dev-2"):
            device = session.get_one(Device, device_id)
            device.site = "ulm"
            session.add(device)


@pytest.mark.usefixtures("ulm")
@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        # selectors
        (
            {"waves": [{"selector": "line=a"}, {"selector": "device in (dev-1,dev-3)"}]},
            422,
            "waves.1.selector: dev-1 fit waves.0.selector too",
        ),
        (
            {"waves": [{"selector": "line"}, {"count": 1}, {"selector": "site=ulm"}]},
            422,
            "waves.2.selector: dev-0, dev-1, dev-2 fit waves.0.selector too",
        ),
        ({"waves": [{"selector": "line=z"}]}, 422, "waves.0.selector: no remaining device fits"),
        ({"waves": [{"selector": "line in"}]}, 422, "waves.0.selector: cannot be read at the end"),
        ({"waves": [{"selector": "group=x"}]}, 404, "waves.0.selector: there is no group x"),
        ({"selector": "group=x"}, 404, "selector: there is no group x"),
        ({"selector": "a=b=c"}, 422, "selector: cannot be read at '=c'"),
        ({"selector": "site=moon"}, 422, "selector: no device that runs caps fits site=moon"),
        # targets
        ({"devices": []}, 422, "devices: it names none"),
        ({"devices": ["ghost"]}, 404, "devices: not enrolled: ghost"),
        ({"devices": ["shelf"]}, 422, "devices: shelf does not run caps"),
        # waves of nobody
        ({"waves": [{"count": 0}]}, 422, "waves.0.count: "),
        ({"waves": [{"percent": 0}]}, 422, "waves.0.percent: "),
        ({"waves": [{}]}, 422, "a wave is one of percent, count, selector"),
        ({"waves": [{"count": 6}, {"count": 1}]}, 422, "waves.1.count: comes to no device of 6"),
        (
            {"waves": [{"percent": 1}, {"percent": 16}, {"percent": 100}]},
            422,
            "waves.1.percent: 16 comes to no device of 6",
        ),
        (
            {"devices": ["dev-0"], "waves": [{"count": 1}, {"percent": 100}]},
            422,
            "waves.1.percent: 100 comes to no device of 1",
        ),
        # percentages
        ({"waves": [{"percent": 10}, {"percent": 90}]}, 422, "waves.1.percent: 90 is the last"),
        ({"waves": [{"percent": 50}, {"percent": 20}]}, 422, "waves.1.percent: 20 is not above"),
        ({"waves": [{"percent": 101}]}, 422, "waves.0.percent: "),
        # builds
        ({"version": 9}, 404, "version: there is no version 9 of caps"),
        ({"model": "nothing"}, 404, "model: there is no model nothing"),
        ({"version": None, "bundle_digest": "9" * 64}, 404, "bundle_digest: there is no build"),
        ({"version": None, "bundle_digest": "999"}, 404, "bundle_digest: '999' is no digest"),
        ({"version": None}, 422, "version: it is missing"),
        # windows
        ({"window": {**DAILY, "cron": "0 0 30 2 *"}}, 422, "cron '0 0 30 2 *' never comes"),
        ({"window": {**DAILY, "cron": "0 26 * * *"}}, 422, "cron '0 26 * * *' cannot be read"),
        ({"window": {**DAILY, "cron": "at night"}}, 422, "cron 'at night' has not five fields"),
        ({"window": {**DAILY, "time_zone": "Mars"}}, 422, "no time zone is called 'Mars'"),
        ({"window": {**DAILY, "duration_s": 0}}, 422, "window.duration_s: "),
        (
            {"window": DAILY, "total_timeout_s": 1, "step_timeout_s": 0.9, "probation_s": 0},
            422,
            "total_timeout_s: 1 ends devices before the window opens",
        ),
        # thresholds
        ({"errors": [{**TENTH, "percent": 100}]}, 422, "errors.0.percent: more than 100 %"),
        ({"errors": [{**TENTH, "kinds": ["SAD"]}]}, 422, "errors.0.kinds.0: "),
        (
            {"errors": [{**TENTH, "executed_min": 7}]},
            422,
            "errors.0.executed_min: 7 is more than the 6 devices",
        ),
        ({"errors": [TENTH, {**TENTH, "then": "abort"}]}, 422, "errors.1.then: at 10 % of FAILED"),
        (
            {"errors": [{**TENTH, "then": "abort"}, {**TENTH, "percent": 20}]},
            422,
            "errors.1.percent: 20 is never reached",
        ),
        (
            {"pace": {"base_per_minute": 9, "per_minute_max": 3}},
            422,
            "per_minute_max: 3 is below base_per_minute",
        ),
        (
            {"site_atomic": True, "in_flight_max": 2},
            422,
            "in_flight_max: 2 is below the 3 devices of site ulm",
        ),
        (
            {"site_atomic": True, "waves": [{"selector": "line=a"}]},
            422,
            "waves.0.selector: it divides site ulm",
        ),
        ({"waves": [{"count": 1, "gated": False}], "gates": {}, "devices": ["dev-0"]}, 422,
         "gates: no wave is gated"),
        ({"gates": {"frames_min": 0}}, 422, "gates.frames_min: "),
        ({"success_percent": 101}, 422, "success_percent: "),
        ({"timeout_s": 7200}, 422, "timeout_s: 7200 is above total_timeout_s"),
        ({"total_timeout_s": 5}, 422, "total_timeout_s: 5 is below step_timeout_s"),
        ({"continuous": True, "devices": ["dev-0"]}, 422, "continuous: devices names"),
        ({"wawes": []}, 422, "wawes: there is no such field"),
        ({"pace": {"per_minute": 30}}, 422, "pace.per_minute: there is no such field"),
        ({"pace": {"base_per_minute": 1e-5}}, 422, "at 1e-05 a minute 6 devices take more than"),
        (
            {"waves": [{"count": 1}, {"count": 2}], "success_percent": 100, "failed_max": 2},
            422,
            "success_percent: 100 lets one failure pause the rollout after wave 1",
        ),
        ({"waves": [{"count": 1, "gated": True}]}, 422, "waves.0.gated: there are no gates"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_meant_is_refused_before_anything_moves(
    hub: Hub, http: TestClient, asked: dict[str, Any], status: int, said: str
) -> None:
    body = {**CAPS, **asked}
    body = {key: value for key, value in body.items() if value is not None}

    for path in ("/rollouts", "/rollouts/preview"):
        answer = http.post(path, json=body)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert said in error["message"]
        assert error["remedy"]

    hub.settle()
    assert hub.published.messages == []
    with hub.database.reading() as session:
        assert service.list_rollouts(session, ADMIN, None, None, 10) == []


@pytest.mark.usefixtures("ulm")
@pytest.mark.parametrize(
    "asked",
    [
        {"waves": [{"selector": "line=a"}, {"selector": "line=b"}]},
        {"waves": [{"count": 1}, {"selector": "site=ulm"}, {"percent": 100}]},
        {"waves": [{"selector": "site=ulm"}], "site_atomic": True, "in_flight_max": 3},
        {"waves": [{"count": 2}]},
        {"errors": [{**TENTH, "executed_min": 7}], "continuous": True},
        {"window": DAILY},
        {"failed_max": 9},
        {"waves": [{"count": 1, "gated": False}], "gates": {}},
        {"waves": [{"count": 1}], "failed_max": 2, "success_percent": 95},
        {"waves": [{"count": 1, "success_percent": 100}], "failed_max": 2},
        {"waves": [{"selector": "device"}], "failed_max": 2},
        {"pace": {"base_per_minute": 1e-3, "factor": 10, "after_succeeded": 1}},
        {"version": None, "bundle_digest": DIGESTS[1][:8].upper()},
    ],
)
def test_what_can_be_meant_begins(http: TestClient, asked: dict[str, Any]) -> None:
    body = {key: value for key, value in {**CAPS, **asked}.items() if value is not None}
    assert http.post("/rollouts", json=body).status_code == 201


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, []),
        ({"failed_max": 6}, ["failed_max: 6 tolerates the failure of all 6 devices"]),
        ({"failed_max": 6, "continuous": True}, []),
        ({"errors": [TENTH], "failed_max": 5}, []),
        ({"errors": [TENTH]}, ["errors: the first failure pauses before any share of them does"]),
    ],
)
def test_what_is_seldom_meant_is_said_with_the_plan(
    http: TestClient, asked: dict[str, Any], said: list[str]
) -> None:
    found = http.post("/rollouts/preview", json={**CAPS, **asked}).json()["doubts"]
    assert len(found) == len(said)
    assert all(map(str.startswith, found, said))


@pytest.mark.parametrize(
    ("cron", "waves", "doubted"),
    [("0 2 * * *", 2, False), ("0 2 1 * *", 2, True), ("0 2 1 * *", 1, False)],
)
def test_devices_that_begin_late_may_find_the_window_closed_for_too_long(
    cron: str, waves: int, doubted: bool
) -> None:
    asked = RolloutCreate.model_validate({**CAPS, "window": {**DAILY, "cron": cron}})
    found = fitting.doubts(asked, [[f"dev-{number}"] for number in range(waves)], START)
    assert [said.partition(":")[0] for said in found] == ["total_timeout_s"] * doubted


@pytest.mark.parametrize("gates", [None, {}])
def test_a_wave_is_shown_as_gated_where_there_are_gates(http: TestClient, gates: Any) -> None:
    body = {**CAPS, "waves": [{"count": 1, "gated": False}], "gates": gates}
    body |= {} if gates is None else {"waves": [{"count": 1}, {"count": 1, "gated": False}]}
    judged = [gates is not None, False, gates is not None][: len(body["waves"]) + 1]
    made = http.post("/rollouts", json=body).json()
    assert [wave["gated"] for wave in made["plan"]["waves"]] == judged
    assert [wave["gated"] for wave in made["waves"]] == judged


def test_when_all_of_a_selector_are_pinned_there_is_nobody(http: TestClient) -> None:
    for device_id in ("dev-0", "dev-1"):
        assert http.put(f"/devices/{device_id}/pins/caps", json={"version": 2}).status_code == 200
    answer = http.post("/rollouts", json={**CAPS, "selector": "line=a"})
    assert answer.status_code == 422
    assert "every device that is meant is pinned: dev-0, dev-1" in answer.json()["error"]["message"]
