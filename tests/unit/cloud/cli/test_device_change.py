"""`argosy device change`, and devices listed by a selector."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cloud.access.principal import Role
from cloud.cli import client as cli_client
from cloud.cli.client import HubClient
from cloud.cli.device import devices
from tests.unit.cloud.conftest import Api


@pytest.fixture(autouse=True)
def fleet(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    http = api.acting(Role.OPERATOR)
    http.post("/sites", json={"name": "ulm"})
    for number in range(3):
        labels = {"line": "a" if number else "b"}
        body = {"device_id": f"box-{number}", "labels": labels, "models": ["caps"]}
        assert http.post("/devices", json=body).status_code == 201
    client = HubClient("http://hub", api.token(Role.OPERATOR), transport=http._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    return api


def argosy(*words: str) -> Result:
    return CliRunner().invoke(devices, [*words, "--json"])


def test_what_is_given_changes_and_the_rest_stays() -> None:
    words = ("--label", "line=b", "--label", "hall=2", "--site", "ulm", "--model", "caps, lids")
    changed: dict[str, Any] = json.loads(argosy("change", "box-1", *words).output)
    assert changed == {
        "id": "box-1",
        "site": "ulm",
        "labels": {"line": "b", "hall": "2"},
        "models": ["caps", "lids"],
    }
    changed = json.loads(argosy("change", "box-1", "--label", "hall=", "--site", "").output)
    assert (changed["site"], changed["labels"]) == (None, {"line": "b"})
    assert changed["models"] == ["caps", "lids"]


@pytest.mark.parametrize("words", [("box-1",), ("box-1", "--label", "x"), ("ghost", "--site", "")])
def test_what_changes_nothing_or_nobody_is_refused(words: tuple[str, ...]) -> None:
    assert argosy("change", *words).exit_code != 0


def test_devices_are_listed_by_selector() -> None:
    found = json.loads(argosy("list", "--select", "line=a").output)
    assert [row["id"] for row in found] == ["box-1", "box-2"]
