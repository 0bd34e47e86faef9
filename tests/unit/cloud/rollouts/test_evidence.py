"""Evidence of a rollout that ran on a hub's database: over HTTP, on a terminal, as a page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud import answers
from cloud.access.principal import Role
from cloud.cli import client as cli_client
from cloud.cli.client import HubClient
from cloud.registry import service as registry
from cloud.rollouts import service
from cloud.rollouts.evidence.router import router as evidence_router
from cloud.rollouts.models import RolloutGate
from cloud.rollouts.router import router
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts import story
from tests.unit.cloud.rollouts.conftest import ADMIN, DIGESTS, MODEL, Hub, token
from tests.unit.cloud.rollouts.terminal import argosy


@pytest.fixture
def web(hub: Hub) -> TestClient:
    app = FastAPI()
    answers.install(app)
    for each in (router, evidence_router):
        app.include_router(each, prefix="/api/v1")
    app.state.database = hub.database
    made = TestClient(app)
    made.headers["Authorization"] = f"Bearer {token(hub, Role.VIEWER)}"
    return made


def ran(hub: Hub) -> str:
    """A rollout of three waves: one device of the first fails, its gate is let pass by hand,
    the second is cancelled."""
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 1)
    rollout_id = hub.create(
        waves=[{"count": 2}, {"count": 1}, {"percent": 100}], needs_approval=True, failed_max=3,
        success_percent=50, remark="for line a",
    )  # fmt: skip
    hub.now = hub.rollout(rollout_id).created_at
    hub.call(service.approve, rollout_id)
    hub.settle(1)
    good, bad = [k[0] for k, row in hub.executions(rollout_id).items() if row.started_at]
    hub.now += 30
    hub.succeed(good)
    hub.report(bad, ExecutionState.FAILED, "no room on the disk")
    hub.settle(10)
    with hub.database.transaction() as session:
        session.add(
            RolloutGate(
                rollout_id=rollout_id,
                wave=0,
                look=1,
                at=hub.now,
                settled=True,
                verdict="INCONCLUSIVE",
                reason="it is night",
                figures=story.FAILED.as_dict(),
                answered_by="bob",
                answered_at=hub.now + 1,
                remark="seen by eye",
            )
        )
    hub.call(service.cancel, rollout_id)
    hub.settle(5)
    return rollout_id


def test_the_record_is_made_of_what_is_stored(hub: Hub, web: TestClient) -> None:
    rollout_id = ran(hub)
    answer = web.get(f"/api/v1/rollouts/{rollout_id}/evidence")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()

    assert (told["verdict"], told["what"]["version"]) == ("STOPPED", 1)
    assert told["what"]["lineage"]["dataset"] == "d"
    assert told["what"]["builds"][0]["digest"] == DIGESTS[1]
    assert told["who"]["created_by"] == "ada"
    assert told["who"]["approved_by"] == ["ada"]
    assert {"created", "approved", "cancelled"} <= {d["kind"] for d in told["who"]["decisions"]}
    assert sum(wave["devices"] for wave in told["waves"]) == 6
    assert told["waves"][0]["let_go_by"] == "bob"
    assert told["metrics"]["failures"][0]["reason"] == "no room on the disk"
    assert told["deviations"]["gate_overruled"]["items"][0]["by"] == "bob"
    assert told["journal"][0]["text"] == "for line a"
    assert told["spec"]["success_percent"] == 50


def test_the_page_is_one_file_that_may_run_nothing(hub: Hub, web: TestClient) -> None:
    answer = web.get(f"/api/v1/rollouts/{ran(hub)}/evidence.html")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    for said in ("It was stopped before its end", "seen by eye", "no room on the disk"):
        assert said in answer.text


def test_what_is_not_there_and_who_is_not_known_get_nothing(hub: Hub, web: TestClient) -> None:
    for path in ("evidence", "evidence.html"):
        assert web.get(f"/api/v1/rollouts/none/{path}").status_code == 404
    web.headers.pop("Authorization")
    assert web.get(f"/api/v1/rollouts/{hub.create()}/evidence").status_code == 401


def test_a_device_that_cannot_go_back_says_why(hub: Hub, web: TestClient) -> None:
    first = hub.create(devices=["dev-0"])
    hub.settle()
    hub.succeed("dev-0")
    hub.settle(5)
    second = hub.create(version=2, devices=["dev-0"])
    hub.settle(5)
    hub.succeed("dev-0")
    with hub.database.transaction() as session:
        registry.set_floor(session, ADMIN, MODEL, 2)
        service.abort(session, ADMIN, second, revert=True, remark="it sees worse")
    hub.settle(5)

    told = web.get(f"/api/v1/rollouts/{second}/evidence").json()
    (left,) = told["deviations"]["not_reverted"]["items"]
    assert left["device"] == "dev-0"
    assert "v1, which was before, is below the model's floor" in left["reason"]
    assert web.get(f"/api/v1/rollouts/{first}/evidence").json()["verdict"] == "SUCCEEDED"


def test_a_device_that_a_newer_rollout_has_is_none_that_did_not_come_back(
    hub: Hub, web: TestClient
) -> None:
    """Its slot was taken over while the older rollout was being taken back."""
    older = hub.create(version=2, devices=["dev-0", "dev-1", "dev-2"])
    hub.settle(5)
    hub.succeed("dev-0")
    hub.succeed("dev-1")
    newer = hub.create(version=1, devices=["dev-0"], priority=5)
    hub.settle(5)
    with hub.database.transaction() as session:
        service.abort(session, ADMIN, older, revert=True, remark="it sees worse")
    hub.settle(5)
    told = web.get(f"/api/v1/rollouts/{older}/evidence").json()
    (gone,) = told["deviations"]["moved_on"]["items"]
    assert (gone["device"], gone["reason"]) == ("dev-0", f"rollout {newer} has the slot, with v1")
    assert told["outcome"]["moved_on"] == 1


def test_a_device_that_had_diverged_and_runs_the_build_again_has_it(
    hub: Hub, web: TestClient
) -> None:
    """As one does whose data came back from an older copy, and which then followed the hub."""
    rollout_id = hub.create(selector="device=dev-0", attempts_max=1, continuous=True)
    hub.settle()
    hub.succeed("dev-0")
    hub.runs("dev-0", DIGESTS[2])
    hub.settle()
    told = web.get(f"/api/v1/rollouts/{rollout_id}/evidence").json()
    assert told["outcome"]["have_it"] == 0
    hub.runs("dev-0", DIGESTS[1])
    hub.settle()
    told = web.get(f"/api/v1/rollouts/{rollout_id}/evidence").json()
    assert told["outcome"]["have_it"] == 1
    (item,) = told["deviations"]["diverged"]["items"]
    assert item["reason"].endswith("; it runs the build again")
    (shown,) = web.get(f"/api/v1/rollouts/{rollout_id}").json()["executions"]
    assert shown["reason"] == item["reason"]


def test_an_exchange_while_the_window_was_shut_is_told(hub: Hub, web: TestClient) -> None:
    shut = {"cron": f"0 {(time.gmtime(hub.now).tm_hour + 12) % 24} * * *", "duration_s": 3600}
    rollout_id = hub.create(devices=["dev-0"], window=shut)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle(5)
    told = web.get(f"/api/v1/rollouts/{rollout_id}/evidence").json()
    assert [e["wave"] for e in told["journal"] if e["kind"] == "wave"] == [0]
    (item,) = told["deviations"]["outside_window"]["items"]
    assert item["device"] == "dev-0" and f"UTC, outside of '{shut['cron']}'" in item["reason"]


def test_the_report_from_the_command_line(
    hub: Hub, web: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = HubClient("http://hub", token(hub, Role.VIEWER), transport=web._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    rollout_id, out = ran(hub), tmp_path / "page.html"
    assert "INCONCLUSIVE" in argosy("report", rollout_id).output
    assert json.loads(argosy("report", rollout_id, "--json").output)["id"] == rollout_id
    assert argosy("report", rollout_id, "--out", str(out), "--json").exit_code == 0
    assert out.read_text().startswith("<!doctype html>")
