"""What tests of the rollouts' commands share: a hub of canned answers, and rollouts to show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner, Result

from cloud.cli import client as cli_client
from cloud.cli.client import HubClient
from cloud.cli.rollout import rollouts
from tests.unit.cloud.rollouts import story


def text(what: RenderableType, width: int = 160) -> str:
    console = Console(width=width, file=None, record=True)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def view(**changed: Any) -> dict[str, Any]:
    """A rollout as the hub shows it."""
    values: dict[str, Any] = {
        "id": "r-1",
        "name": "caps v1",
        "state": "RUNNING",
        "outcome": None,
        "reason": "",
        "wave": 0,
        "asks": None,
        "reverting": False,
        "spec": {"gates": {"every_s": 30}, "soak_s": 60},
        "waves": [
            {"gated": True, "devices": 4, "counts": {"SUCCEEDED": 2, "PROVING": 2}},
            {"gated": True, "devices": 6, "counts": {"QUEUED": 6}},
        ],
        "executions": [],
    }
    return {**values, **changed}


def look(number: int, verdict: str = "INCONCLUSIVE", **changed: Any) -> dict[str, Any]:
    values = {"wave": 0, "look": number, "verdict": verdict, "reason": "too few frames"}
    return {**values, "figures": story.FAILED.as_dict(), "answered_by": None, **changed}


class Answers:
    """A hub of canned answers by the last word of a path, in turn, and the last one for ever."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Sequence[Any]]
    ) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.left = {name: list(values) for name, values in answers.items()}
        made = HubClient("http://hub", "token", transport=httpx.MockTransport(self.answer))
        monkeypatch.setattr(cli_client, "open_client", lambda *_: made)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/")
        body = json.loads(request.content) if request.content else dict(request.url.params)
        self.sent.append((request.method, path, body))
        values = self.left[path.rsplit("/", 1)[-1]]
        found = values.pop(0) if len(values) > 1 else values[0]
        return httpx.Response(204) if found is None else httpx.Response(200, json=found)


def argosy(*words: str, width: int = 200) -> Result:
    return CliRunner(env={"COLUMNS": str(width)}).invoke(rollouts, list(words))
