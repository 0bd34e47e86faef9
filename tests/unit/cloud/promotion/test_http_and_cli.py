"""The gate over HTTP: who may ask, and a page that may run nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from cloud.access.principal import Role
from cloud.app import API_PREFIX
from cloud.cli import promote as commands
from cloud.cli.client import CommandError, HubClient
from cloud.promotion.handler import gate_handler
from cloud.promotion.router import router
from cloud.registry import service as registry
from tests.unit.cloud.conftest import Api
from tests.unit.cloud.promotion.conftest import MODEL, OPERATOR, Shop, furnish
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
