"""`argosy dataset show`: what a version holds and lacks, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cloud.cli import client as cli_client
from cloud.cli.client import HubClient
from cloud.cli.main import commands

VERSION: dict[str, Any] = {
    "name": "caps",
    "number": 2,
    "digest": "ab" * 32,
    "class_names": ["cap"],
    "counts": {"train": 3},
    "left_out": [
        {"image": "images/a[/b].jpg", "near": "v.jpg", "distance": 3, "reason": "nearly the same"}
    ],
    "parent": 1,
    "created_at": 1.0,
    "created_by": "ada",
}
TAGS = [{"tag": "site", "images": 3, "values": 2, "counts": {"Ulm [/hall]": 2, "Bonn": 1}}]


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that knows one version."""
    answers = {
        "/api/v1/datasets/caps/versions/2": VERSION,
        "/api/v1/datasets/caps/versions/2/tags": {"items": TAGS, "next": None},
    }
    transport = httpx.MockTransport(lambda asked: httpx.Response(200, json=answers[asked.url.path]))
    client = HubClient("http://hub", "token", transport=transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    monkeypatch.setenv("COLUMNS", "200")


def test_tags_and_what_was_left_out_are_shown_as_they_are_written() -> None:
    shown = CliRunner().invoke(commands, ["dataset", "show", "caps", "--version", "2"])
    assert shown.exit_code == 0, shown.output
    assert "Ulm [/hall]=2, Bonn=1" in shown.stdout
    assert "images/a[/b].jpg" in shown.stdout


def test_programs_get_all_of_it() -> None:
    shown = CliRunner().invoke(commands, ["dataset", "show", "caps", "--version", "2", "--json"])
    assert json.loads(shown.stdout) == {**VERSION, "tags": TAGS}


def test_the_help_of_an_import_says_what_tags_are() -> None:
    assert "tags.csv" in CliRunner().invoke(commands, ["dataset", "import", "--help"]).stdout
