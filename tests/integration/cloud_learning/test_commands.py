"""The commands of the learning slices against a hub: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud.cli import client as cli_client
from cloud.cli.client import CommandError, HubClient
from cloud.cli.main import commands
from tests.integration.cloud_learning.hub import LearningHub, learning_hub
from tests.integration.cloud_learning.samples import label, send_back

pytestmark = pytest.mark.integration

FAILS = (sys.executable, "-c", "import sys; print('out of ideas'); sys.exit(3)")
Argosy = Callable[..., Result]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LearningHub]:
    with learning_hub(tmp_path / "hub", child=FAILS) as hub:
        yield hub


@pytest.fixture
def argosy(hub: LearningHub, monkeypatch: pytest.MonkeyPatch) -> Argosy:
    """Runs `argosy` with these arguments against the hub."""
    client = HubClient("http://testserver", hub.token, transport=hub.api._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    return lambda *words: CliRunner().invoke(commands, [str(word) for word in words])


def test_import_show_and_extend(argosy: Argosy, drawn_folder: Path) -> None:
    done = argosy("dataset", "import", "shapes", drawn_folder, "--model", "shapes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["golden"] == 10
    assert "selection" in argosy("dataset", "show", "shapes").stdout
    assert json.loads(argosy("dataset", "list", "--json").stdout)[0]["name"] == "shapes"
    assert json.loads(argosy("model", "list", "--json").stdout)[0]["class_names"]
    refused = argosy("dataset", "extend", "shapes").exception
    assert isinstance(refused, CommandError)
    assert "no annotated sample" in refused.message


def test_a_bad_folder_is_told_with_its_files(argosy: Argosy, tmp_path: Path) -> None:
    refused = argosy("dataset", "import", "shapes", tmp_path / "none").exception
    assert isinstance(refused, CommandError)
    assert "data.yaml" in refused.message


def test_a_training_that_fails_is_watched_to_its_end(argosy: Argosy, drawn_folder: Path) -> None:
    argosy("dataset", "import", "shapes", drawn_folder, "--model", "shapes")
    order = ("train", "start", "shapes", "shapes", "--epochs", 1, "--imgsz", 64)
    failed = argosy(*order, "--set", "val=false", "--watch")
    assert isinstance(failed.exception, CommandError)
    assert "out of ideas" in failed.exception.message
    (job,) = json.loads(argosy("train", "list", "--json").stdout)
    assert job["parameters"]["val"] is False
    assert "out of ideas" in argosy("train", "log", job["id"]).stdout
    again = argosy("train", "cancel", job["id"]).exception
    assert isinstance(again, CommandError)
    assert "FAILED already" in again.message
    odd = argosy(*order, "--set", "val").exception
    assert isinstance(odd, CommandError)


def test_tasks_are_exported(argosy: Argosy, hub: LearningHub, tmp_path: Path) -> None:
    label(hub, send_back(hub, 500), 500)
    assert "dev-1" in argosy("annotate", "list", "--state", "done").stdout
    assert argosy("annotate", "export", tmp_path / "out").exit_code == 0
    (line,) = (tmp_path / "out" / "tasks.jsonl").read_text().splitlines()
    task = json.loads(line)
    assert task["boxes"]
    assert (tmp_path / "out" / task["image"]).stat().st_size > 0
