"""The application as a whole: errors, health, exposure, one request as one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from cloud import settings
from cloud.access.principal import Role
from cloud.answers import install
from cloud.app import application
from cloud.errors import ConfigurationError
from cloud.hub import Hub
from cloud.serving import check_exposure, initialise
from tests.unit.cloud.conftest import Api


def test_a_commit_that_fails_is_no_success(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    http = api.acting(Role.OPERATOR)

    def fail(_: Session) -> None:
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(Session, "commit", fail)
    answer = http.post("/sites", json={"name": "berlin"})
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "fault")
    assert http.get("/sites").json()["items"] == []


def test_a_sender_that_hangs_up_is_no_fault_of_the_hub(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    install(app)

    @app.put("/image")
    async def take(request: Request) -> int:
        return len(await request.body())

    told: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/image", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))

    assert told[0]["status"] == 400
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []


def test_what_there_is_not_is_said_in_the_same_shape(api: Api) -> None:
    for answer in (api.http.get("/nowhere"), api.http.patch("/devices")):
        assert set(answer.json()["error"]) == {"code", "message", "remedy"}
    answer = api.http.get("/groups/a/b")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "there is nothing at /api/v1/groups/a/b"


def health(hub: Hub, client: str, path: str, **headers: str) -> Any:
    http = TestClient(application(hub), client=(client, 1), base_url="http://hub")
    return http.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json"])
def test_health_is_open_on_loopback_alone(api: Api, path: str) -> None:
    token = api.token(Role.VIEWER)
    assert health(api.hub, "127.0.0.1", path).status_code == 200
    assert health(api.hub, "192.0.2.7", path).status_code == 401
    assert health(api.hub, "192.0.2.7", path, Authorization=f"Bearer {token}").status_code == 200


def test_behind_a_proxy_everybody_needs_a_token(tmp_path: Path) -> None:
    hub = Hub(settings.load(tmp_path, behind_tls_proxy=True))
    assert health(hub, "127.0.0.1", "/metrics").status_code == 401
    hub.stop()


def test_a_hub_without_its_broker_is_not_ready(hub: Hub) -> None:
    answer = health(hub, "127.0.0.1", "/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "database": "ok", "broker": "no link to the broker"}


def test_metrics_count_what_was_ingested(hub: Hub) -> None:
    hub.counters.count("refused.malformed", 3)
    assert (
        'argosy_ingest_total{outcome="refused.malformed"} 3.0'
        in health(hub, "127.0.0.1", "/metrics").text
    )


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({"host": "127.0.0.1"}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),  # noqa: S104 - what is refused
        ({"host": "hub.example"}, False),
        ({"host": "0.0.0.0", "behind_tls_proxy": True}, True),  # noqa: S104
        ({"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k"}, True),  # noqa: S104
        ({"host": "127.0.0.1", "tls_certificate": "c"}, False),
    ],
)
def test_tokens_never_cross_a_network_in_the_clear(
    tmp_path: Path, values: dict[str, Any], allowed: bool
) -> None:
    loaded = settings.load(tmp_path, **values)
    if allowed:
        check_exposure(loaded)
    else:
        with pytest.raises(ConfigurationError):
            check_exposure(loaded)


def test_a_folder_is_prepared_once(tmp_path: Path) -> None:
    loaded = settings.load(tmp_path / "data")
    initialise(loaded).stop()
    token = loaded.admin_token_file.read_text()
    initialise(loaded).stop()
    assert loaded.admin_token_file.read_text() == token
    assert loaded.admin_token_file.stat().st_mode & 0o777 == 0o600
    assert {p.stat().st_mode & 0o777 for p in loaded.keys_dir.iterdir()} == {0o600}


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub.toml").write_text("port = 1\n[limits]\nwants_collect_ms = 7\n")
    assert settings.load(tmp_path).port == 1
    monkeypatch.setenv("ARGOSY_PORT", "2")
    loaded = settings.load(tmp_path)
    assert (loaded.port, loaded.limits.wants_collect_ms) == (2, 7)
    assert settings.load(tmp_path, port=3).port == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 'x'", "port"),
        ("porrt = 1", "porrt"),
        ("[limits]\nsample_bytes = 1", "limits.sample_bytes"),
        ("not toml", "TOML"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "hub.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        settings.load(tmp_path)
