"""The gate over HTTP: who may ask, what it asks for, and a page that may run nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cloud.access import service as access
from cloud.access.principal import Role
from cloud.app import API_PREFIX
from cloud.cli import client as cli_client
from cloud.cli import promote as commands
from cloud.cli.client import CommandError, HubClient
from cloud.promotion.handler import gate_handler
from cloud.promotion.router import router
from cloud.registry import service as registry
from tests.unit.cloud.conftest import Api
from tests.unit.cloud.promotion.conftest import CLASSES, MODEL, OPERATOR, Shop, furnish
from tests.unit.cloud.promotion.test_service import POLICY


@pytest.fixture
def served(api: Api, tmp_path: Path) -> Shop:
    """The shop inside a hub whose jobs are run by hand."""
    paths = {getattr(route, "path", "") for route in api.http.app.routes}  # type: ignore[attr-defined]
    if f"{API_PREFIX}/evidence/{{evidence_id}}" not in paths:
        api.http.app.include_router(router, prefix=API_PREFIX)  # type: ignore[attr-defined]
    shop = furnish(api.hub.database, api.hub.blobs, tmp_path)
    with shop.database.transaction() as session:
        row = registry.get_model(session, OPERATOR, MODEL)
        row.policy = POLICY
        session.add(row)
    return shop


def gate(shop: Shop, client: TestClient, number: int) -> str:
    """Ask for a gate, run its job, and answer the evidence's id."""
    from cloud.jobs import service as jobs

    asked = client.post(f"/models/{MODEL}/versions/{number}/gate", json={})
    assert asked.status_code == 202, asked.text
    with shop.database.transaction() as session:
        job = jobs.get(session, OPERATOR, asked.json()["id"])
        job.state = "SUCCEEDED"
        session.add(job)
    result = gate_handler(lambda _: shop.answering)(shop.context(job))
    return str(result["evidence"])


def test_a_gate_from_the_question_to_the_alias(api: Api, served: Shop) -> None:
    client = api.acting(Role.APPROVER)
    evidence = gate(served, client, 1)
    listed = client.get(f"/models/{MODEL}/evidence").json()["items"]
    assert [(e["id"], e["verdict"]) for e in listed] == [(evidence, "PASS")]
    assert client.get(f"/evidence/{evidence}").json()["verdict"] == "PASS"
    found = client.get(f"/models/{MODEL}/versions/1/evidence").json()
    assert found["id"] == evidence
    assert client.get(f"/models/{MODEL}/versions/2/evidence").json() is None
    done = client.post(f"/models/{MODEL}/promote", json={"number": 1}).json()
    assert (done["moved"], done["number"], done["evidence"]) == (True, 1, evidence)
    again = client.post(f"/models/{MODEL}/promote", json={"number": 1}).json()
    assert again["moved"] is False
    refused = client.post(f"/models/{MODEL}/promote", json={"number": 2})
    assert refused.status_code == 409
    assert "argosy promote check" in refused.json()["error"]["remedy"]


def test_the_page_runs_and_loads_nothing(api: Api, served: Shop) -> None:
    client = api.acting(Role.OPERATOR)
    evidence = gate(served, client, 1)
    page = api.acting(Role.VIEWER).get(f"/evidence/{evidence}/page")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/evidence/none/page").status_code == 404


def test_a_viewer_may_look_and_not_ask(api: Api, served: Shop) -> None:
    client = api.acting(Role.VIEWER)
    assert client.post(f"/models/{MODEL}/versions/1/gate", json={}).status_code == 403
    assert client.post(f"/models/{MODEL}/promote", json={"number": 1}).status_code == 403
    assert client.get(f"/models/{MODEL}/evidence").json()["items"] == []
    operator = api.acting(Role.OPERATOR)
    path, body = f"/models/{MODEL}/versions/1/gate", {"to_promote": True}
    assert operator.post(path, json=body).status_code == 403
    assert operator.post(path, json={**body, "alias": "candidate"}).status_code == 202
    assert operator.post(path, json=body).status_code == 403
    bad = client.post(f"/models/{MODEL}/promote", json={"number": 1, "alias": "../x"})
    assert bad.status_code == 422


class Bridge(HubClient):
    """The command line's client over the test's."""

    def __init__(self, http: TestClient) -> None:
        super().__init__("http://hub", "token")
        http.base_url = "http://hub/api/v1/"
        self._http = http


def test_the_commands_say_what_was_found(
    api: Api, served: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    client = api.acting(Role.APPROVER)
    evidence = gate(served, client, 1)
    bridge = Bridge(client)
    commands._show(bridge.get(f"evidence/{evidence}"))
    said = capsys.readouterr().out
    assert "PASS" in said
    assert "against fixed bars" in said
    assert "all classes" in said
    assert commands._request(bridge, MODEL, 2, against=1, alias=None)["kind"] == "gate"
    with pytest.raises(CommandError, match="queued already"):
        commands._request(bridge, MODEL, 2, against=1)


def policy(shop: Shop) -> dict[str, Any]:
    with shop.database.reading() as session:
        return dict(registry.get_model(session, OPERATOR, MODEL).policy)


def test_an_approver_changes_the_policy_one_by_one_and_the_audit_says_so(
    api: Api, served: Shop
) -> None:
    path = f"/models/{MODEL}/policy"
    shown = api.acting(Role.VIEWER).get(path).json()
    assert (shown["overrides"], shown["values"]["alpha"]) == (POLICY, 0.05)
    body = {"set": {"latency_ratio_max": 2, "critical_classes": [CLASSES[1]]}}
    assert api.acting(Role.OPERATOR).put(path, json=body).status_code == 403
    assert policy(served) == POLICY
    client = api.acting(Role.APPROVER)
    changed = client.put(path, json={**body, "unset": ["map50_margin", "alpha"]}).json()
    assert changed["values"]["map50_margin"] == 0.02
    wanted = {**POLICY, "latency_ratio_max": 2.0, "critical_classes": [CLASSES[1]]}
    del wanted["map50_margin"]
    assert changed["overrides"] == policy(served) == wanted
    client.put(path, json=body)
    with served.database.reading() as session:
        rows = access.list_audit(session, OPERATOR, f"model/{MODEL}", None, 50)
        (row,) = [row for row in rows if row.verb == "model.policy"]
    assert row.detail == {"before": POLICY, "policy": wanted}


@pytest.mark.parametrize(
    ("body", "complaint", "remedy"),
    [
        ({"set": {"map50_margn": 0.1}}, "map50_margn", "map50_margin, class_map50_margin"),
        ({"set": {"map50_margin": 2}}, "less than or equal to 1", "map50_margin"),
        ({"set": {"critical_classes": ["crack"]}}, "crack", CLASSES[0]),
        ({"unset": ["margin"]}, "'margin' is no part", "map50_margin, class_map50_margin"),
    ],
)
def test_a_policy_that_is_none_changes_nothing(
    api: Api, served: Shop, body: dict[str, Any], complaint: str, remedy: str
) -> None:
    refused = api.acting(Role.APPROVER).put(f"/models/{MODEL}/policy", json=body)
    assert refused.status_code == 422
    assert complaint in refused.json()["error"]["message"]
    assert remedy in refused.json()["error"]["remedy"]
    assert policy(served) == POLICY


def test_the_policy_from_the_command_line(
    api: Api, served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = Bridge(api.acting(Role.APPROVER))
    monkeypatch.setattr(cli_client, "open_client", lambda *_: bridge)

    def run(*words: str) -> str:
        result = CliRunner().invoke(commands.promotion, ["policy", MODEL, *words])
        if result.exception is not None:
            raise result.exception
        return result.output

    lines = {line.split()[0]: line for line in run().splitlines() if line.strip()}
    assert "0.1" in lines["map50_margin"] and "set" in lines["map50_margin"]
    assert "1.2" in lines["latency_ratio_max"] and "default" in lines["latency_ratio_max"]
    changes = (
        "seed=7",
        "robustness_required=false",
        f"critical_classes={CLASSES[0]}, {CLASSES[1]}",
    )
    options = [word for change in changes for word in ("--set", change)]
    found = json.loads(run(*options, "--unset", "map50_margin", "--json"))
    assert (
        found["overrides"]
        == policy(served)
        == {
            "class_boxes_min": 20,
            "bootstrap_rounds": 400,
            "seed": 7,
            "robustness_required": False,
            "critical_classes": list(CLASSES),
        }
    )
    with pytest.raises(CommandError, match="sets nothing"):
        run("--set", "seed")
    with pytest.raises(CommandError, match="margn"):
        run("--set", "margn=1")


def test_a_policy_that_was_spoiled_elsewhere_can_be_mended(api: Api, served: Shop) -> None:
    with served.database.transaction() as session:
        row = registry.get_model(session, OPERATOR, MODEL)
        row.policy = {"alpha": 0.1, "magic": 1}
        session.add(row)
    client = api.acting(Role.APPROVER)
    assert "magic" in client.get(f"/models/{MODEL}/policy").json()["error"]["message"]
    mended = client.put(f"/models/{MODEL}/policy", json={"unset": ["magic"]}).json()
    assert mended["overrides"] == policy(served) == {"alpha": 0.1}
