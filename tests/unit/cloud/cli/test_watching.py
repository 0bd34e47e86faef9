"""Commands that queue a job stay until it ends, unless they are told not to."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from cloud.cli import client as cli_client
from cloud.cli.client import HubClient
from cloud.cli.promote import promotion
from cloud.cli.version import versions

QUEUED = {"id": "j-1", "kind": "any", "state": "QUEUED", "progress": {}, "error": "", "result": {}}
ENDED = {**QUEUED, "state": "SUCCEEDED", "result": {"equal": 7}}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the hub was asked for; its job has ended when it is looked at."""
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(f"{request.method} {request.url.path.removeprefix('/api/v1')}")
        return httpx.Response(200, json=QUEUED if request.method == "POST" else ENDED)

    client = HubClient("http://hub", "token", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    yield paths


def run(commands: typer.Typer, *words: str) -> Result:
    result = CliRunner().invoke(commands, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("commands", "verb", "path"),
    [(promotion, "check", "gate"), (versions, "rebuild", "rebuild")],
)
def test_a_job_is_watched_by_itself(
    commands: typer.Typer, verb: str, path: str, asked: list[str]
) -> None:
    queue = f"POST /models/caps/versions/2/{path}"
    assert json.loads(run(commands, verb, "caps", "2").stdout) == ENDED
    assert asked == [queue, "GET /jobs/j-1"]
    assert json.loads(run(commands, verb, "caps", "2", "--no-watch").stdout) == QUEUED
    assert asked[2:] == [queue]


def test_a_promotion_that_does_not_wait_only_queues_its_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    posted: list[tuple[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, text="null")
        posted.append((request.url.path.rpartition("/")[2], json.loads(request.content)))
        return httpx.Response(200, json=QUEUED)

    client = HubClient("http://hub", "token", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    assert json.loads(run(promotion, "start", "caps", "2", "--no-watch").stdout) == QUEUED
    assert posted == [("gate", {"to_promote": True})]
