"""The HTTP contract of rollouts: what is asked, what is shown, by whom."""

from __future__ import annotations

import uuid
from itertools import count
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cloud.access.principal import Role
from cloud.rollouts.models import RolloutGate
from tests.unit.cloud.rollouts.conftest import DIGESTS, Hub, token
from tests.unit.cloud.rollouts.test_receiving import counted

CAPS = {"model": "caps", "version": 1}


def pages(http: TestClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every item, in pages of two."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        given = {"limit": 2, **query} | ({} if cursor is None else {"cursor": cursor})
        answer = http.get(path, params=given).json()
        found += answer["items"]
        cursor = answer["next"]
        if cursor is None:
            return found


def test_the_contract_of_a_rollout(hub: Hub, http: TestClient) -> None:
    made = http.post("/rollouts", json={**CAPS, "waves": [{"count": 2}]}).json()
    hub.settle()

    shown = http.get(f"/rollouts/{made['id']}").json()

    assert (shown["state"], shown["wave"], shown["asks"]) == ("RUNNING", 0, None)
    assert [(wave["devices"], wave["counts"]) for wave in shown["waves"]] == [
        (2, {"QUEUED": 2}),
        (4, {"QUEUED": 4}),
    ]
    assert shown["counts"] == {"QUEUED": 6}
    assert {"device", "attempt", "state", "reason", "updated_at", "diverged"} <= set(
        shown["executions"][0]
    )
    other = http.post("/rollouts", json={**CAPS, "devices": ["dev-0"]}).json()
    listed = [row["id"] for row in pages(http, "/rollouts", limit=1)]
    assert listed == [other["id"], made["id"]]
    assert http.get("/rollouts/nothing").status_code == 404


def test_attempts_come_by_pages_and_by_wave_and_state(hub: Hub, http: TestClient) -> None:
    rollout_id = hub.create(waves=[{"count": 2}], failed_max=9, success_percent=50)
    hub.settle()
    started = sorted(key[0] for key, row in hub.executions(rollout_id).items() if row.started_at)
    hub.succeed(started[0])
    path = f"/rollouts/{rollout_id}/executions"

    assert [row["device"] for row in pages(http, path)] == [f"dev-{n}" for n in range(6)]
    assert [row["device"] for row in pages(http, path, wave=0)] == started
    assert [row["device"] for row in pages(http, path, state="SUCCEEDED")] == started[:1]
    assert pages(http, path, wave=0, state="FAILED") == []
    for query in ({"state": "FINE"}, {"wave": -1}, {"cursor": "dev-1"}, {"cursor": "a:x"}):
        assert http.get(path, params=query).status_code == 422, query
    assert http.get("/rollouts/nothing/executions").status_code == 404


def test_looks_at_gates_come_by_pages_with_their_figures(hub: Hub, http: TestClient) -> None:
    rollout_id = hub.create(waves=[{"count": 2}])
    with hub.database.transaction() as session:
        for wave, look in ((0, 1), (0, 2), (1, 1), (0, 10)):
            session.add(
                RolloutGate(
                    rollout_id=rollout_id, wave=wave, look=look, at=1.0, settled=look == 10,
                    verdict="INCONCLUSIVE", reason="12 of 500 frames", figures={"frames": 12},
                )
            )  # fmt: skip
    path = f"/rollouts/{rollout_id}/gates"

    found = pages(http, path)

    assert [(row["wave"], row["look"]) for row in found] == [(0, 1), (0, 2), (0, 10), (1, 1)]
    assert found[2]["figures"] == {"frames": 12}
    assert [row["look"] for row in pages(http, path, wave=1)] == [1]
    assert http.get(path, params={"cursor": "a:1"}).status_code == 422


def test_decisions_stand_in_the_journal_with_who_and_why(hub: Hub, http: TestClient) -> None:
    asked = {**CAPS, "needs_approval": True, "remark": "asked for by line 2"}
    rollout_id = http.post("/rollouts", json=asked).json()["id"]
    path = f"/rollouts/{rollout_id}"
    for verb, body in (
        ("approve", {"remark": " looks good "}),
        ("pause", None),
        ("resume", {"remark": "again"}),
        ("abort", {"remark": "enough", "revert": True}),
    ):
        answer = http.post(f"{path}/{verb}", json=body)
        assert answer.status_code == 200, answer.text

    journal = [entry for entry in pages(http, f"{path}/journal") if entry["by"] != "engine"]

    assert [(entry["kind"], entry["by"], entry["text"]) for entry in journal] == [
        ("created", "april", "asked for by line 2"),
        ("approved", "april", "looks good"),
        ("paused", "april", ""),
        ("resumed", "april", "again"),
        ("aborted", "april", "enough"),
    ]
    assert journal[0]["detail"] == {
        "devices": 6, "waves": [6], "pinned": [], "pinned_count": 0,
    }  # fmt: skip
    assert journal[-1]["detail"] == {"revert": True}
    shown = http.get(path).json()
    assert (shown["state"], shown["reverting"]) == ("STOPPING", True)
    assert shown["reason"] == "aborted by april: enough"


@pytest.mark.parametrize(
    ("role", "verb", "status"),
    [
        (Role.VIEWER, "pause", 403),
        (Role.VIEWER, "abort", 403),
        (Role.OPERATOR, "pause", 200),
        (Role.OPERATOR, "cancel", 200),
        (Role.OPERATOR, "abort", 200),
        (Role.OPERATOR, "resume", 409),
        (Role.OPERATOR, "approve", 403),
        (Role.OPERATOR, "force", 403),
        (Role.OPERATOR, "devices/dev-0/accept", 403),
        (Role.APPROVER, "approve", 409),
        (Role.APPROVER, "force", 409),
        (Role.APPROVER, "devices/dev-0/accept", 409),
    ],
)
def test_verbs_ask_for_their_role(
    hub: Hub, http: TestClient, role: Role, verb: str, status: int
) -> None:
    rollout_id = hub.create()
    http.headers["Authorization"] = f"Bearer {token(hub, role)}"
    body = {"remark": "because"} | ({"revert": False} if verb == "abort" else {})

    assert http.post(f"/rollouts/{rollout_id}/{verb}", json=body).status_code == status


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("force", {}, "remark: "),
        ("force", {"remark": "  "}, "remark: nobody goes past a gate without saying why"),
        ("abort", {"remark": "x"}, "revert: "),
        ("pause", {"remrak": "x"}, "remrak: "),
        ("pause", {"remark": "x" * 2049}, "remark: "),
    ],
)
def test_bodies_of_verbs_are_refused_by_field(
    hub: Hub, http: TestClient, verb: str, body: dict[str, Any], said: str
) -> None:
    answer = http.post(f"/rollouts/{hub.create()}/{verb}", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_a_continuous_rollout_keeps_the_group_that_it_takes_devices_by(
    hub: Hub, http: TestClient
) -> None:
    for name in ("pilot", "other"):
        http.post("/groups", json={"name": name, "selector": "line=a"})
    asked = {**CAPS, "selector": "group=pilot", "continuous": True}
    rollout_id = http.post("/rollouts", json=asked).json()["id"]
    passing = http.post("/rollouts", json={**CAPS, "selector": "group=other,device=dev-1"}).json()

    refused = http.delete("/groups/pilot")

    assert refused.status_code == 409
    assert f"rollout cancel {rollout_id}" in refused.json()["error"]["remedy"]
    assert passing["counts"] == {"QUEUED": 1}
    assert http.delete("/groups/other").status_code == 204
    http.post(f"/rollouts/{rollout_id}/cancel")
    hub.settle()
    assert http.delete("/groups/pilot").status_code == 204


def test_a_pin_shows_what_its_device_runs(hub: Hub, http: TestClient) -> None:
    """Somebody there may have gone back from what is pinned."""
    pinned = http.put("/devices/dev-0/pins/caps", json={"version": 2}).json()
    assert pinned["running"] is None
    hub.runs("dev-0", DIGESTS[1])
    [pinned] = http.get("/pins").json()["items"]
    assert (pinned["version"], pinned["running"]) == (2, DIGESTS[1])


def test_many_pins_are_shown_in_as_many_statements_as_one(hub: Hub, http: TestClient) -> None:
    counts = []
    for number in range(3):
        http.put(f"/devices/dev-{number}/pins/caps", json={"version": 2})
        with counted(hub) as statements:
            assert len(http.get("/pins").json()["items"]) == number + 1
        counts.append(len(statements))
    assert counts == [counts[0]] * 3


def test_a_plan_tells_by_wave_and_by_build_who_gets_what(hub: Hub, http: TestClient) -> None:
    http.put("/devices/dev-5/pins/caps", json={"version": 2, "remark": "under test"})

    plan = http.post("/rollouts/preview", json={**CAPS, "waves": [{"selector": "line=a"}]}).json()

    assert http.get("/rollouts").json()["items"] == []
    assert (plan["count"], plan["no_artifact"], plan["unheard"], plan["offline"]) == (5, 0, 5, 5)
    assert [(wave["selector"], wave["count"], wave["devices"]) for wave in plan["waves"]] == [
        ("line=a", None, 2),
        (None, 3, 3),
    ]
    assert [(build["digest"], build["devices"]) for build in plan["builds"]] == [(DIGESTS[1], 5)]
    assert [(pin["device"], pin["by"], pin["remark"]) for pin in plan["pinned"]] == [
        ("dev-5", "april", "under test")
    ]
    assert sorted(device["device"] for device in plan["devices"]) == [f"dev-{n}" for n in range(5)]
    created = http.post("/rollouts", json=CAPS).json()
    assert created["plan"]["pinned_count"] == 1
    assert created["counts"] == {"QUEUED": 5}


def test_the_first_digits_of_its_id_name_a_rollout(hub: Hub, http: TestClient) -> None:
    rollout_id = hub.create(remark="kept")
    assert http.get(f"/rollouts/{rollout_id[:6]}").json()["id"] == rollout_id
    assert http.post(f"/rollouts/{rollout_id[:8]}/pause").json()["state"] == "PAUSED"
    (entry, *_) = http.get(f"/rollouts/{rollout_id[:6]}/journal").json()["items"]
    assert entry["text"] == "kept"
    for none in (rollout_id[:5], "0" * 6, "%25" * 8, "_" * 6):
        answer = http.get(f"/rollouts/{none}")
        assert (answer.status_code, bool(answer.json()["error"]["remedy"])) == (404, True)


def test_digits_that_several_ids_begin_with_are_refused_with_the_candidates(
    hub: Hub, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = (uuid.UUID(int=0xABCDEF << 104 | last) for last in count())
    monkeypatch.setattr("cloud.rollouts.service.uuid.uuid4", lambda: next(same))
    ids = [hub.create(name=f"n{number}") for number in range(2)]
    answer = http.post(f"/rollouts/{ids[0][:12]}/cancel")
    assert answer.status_code == 409
    assert all(f"{i} (n{n})" in answer.json()["error"]["message"] for n, i in enumerate(ids))
    assert http.get(f"/rollouts/{ids[1]}").json()["name"] == "n1"


def test_an_approval_that_is_sent_again_answers_no_other_question(
    hub: Hub, http: TestClient
) -> None:
    rollout_id = hub.create(needs_approval=True, waves=[{"count": 1, "needs_approval": True}])
    answer = {"asks": "APPROVAL", "remark": "go"}
    assert http.post(f"/rollouts/{rollout_id}/approve", json=answer).status_code == 200
    hub.settle()
    assert hub.rollout(rollout_id).asks == "WAVE"
    refused = http.post(f"/rollouts/{rollout_id}/approve", json=answer)
    assert refused.status_code == 409
    assert "asks WAVE by now, no more APPROVAL" in refused.json()["error"]["message"]
    assert hub.rollout(rollout_id).asks == "WAVE"
