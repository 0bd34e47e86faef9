"""The commands against a hub's own API: pins, groups, files, decisions with their remarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cloud import answers
from cloud.access.principal import Role
from cloud.cli import client as cli_client
from cloud.cli.client import CommandError, HubClient
from cloud.cli.group import groups
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL
from cloud.fleet.router import router as fleet_router
from cloud.rollouts.router import router
from tests.unit.cloud.rollouts.conftest import DIGESTS, Hub, token
from tests.unit.cloud.rollouts.terminal import argosy


@pytest.fixture(autouse=True)
def api(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    """What the commands speak to, as an administrator."""
    app = FastAPI()
    answers.install(app)
    for each in (router, fleet_router):
        app.include_router(each, prefix="/api/v1")
    app.state.database = hub.database
    transport = TestClient(app)._transport
    client = HubClient("http://hub", token(hub, Role.ADMINISTRATOR), transport=transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    return client


def answer(*words: str) -> Any:
    result = argosy(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.output)


def group(*words: str) -> Any:
    return json.loads(CliRunner().invoke(groups, [*words, "--json"]).output)


def test_a_pinned_device_is_left_out_of_the_plan_and_let_back_in(hub: Hub) -> None:
    held = answer("pin", "dev-0", "caps", "2", "--remark", "audit")
    assert (held["digest"], held["remark"]) == (DIGESTS[2], "audit")
    assert [pin["device"] for pin in answer("pins", "--device", "dev-0")] == ["dev-0"]

    plan = answer("plan", "caps", "1")
    assert (plan["count"], plan["pinned_count"]) == (5, 1)
    assert "1 pinned and left out" in argosy("plan", "caps", "1").output

    assert answer("unpin", "dev-0", "caps", "--remark", "done")["restored"] is None
    assert answer("pins") == []
    assert answer("plan", "caps", "1")["count"] == 6


def test_a_group_names_what_its_selector_names_now(hub: Hub) -> None:
    assert group("create", "pilot", "line=a")["devices"] == 2
    assert [row["name"] for row in group("list")] == ["pilot"]
    assert answer("plan", "caps", "1", "--select", "group=pilot")["count"] == 2
    assert group("show", "pilot")["selector"] == "line=a"
    assert group("delete", "pilot") == {"deleted": "pilot"}
    refused = argosy("plan", "caps", "1", "--select", "group=pilot").exception
    assert isinstance(refused, CommandError)
    assert "there is no group pilot" in refused.message


def test_a_file_and_options_become_a_rollout(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "model: caps\nversion: 1\nwaves: [{count: 1}, {percent: 100}]\nremark: from a file\n"
        "pace: {base_per_minute: 5}\n"
    )
    options = ("--pace", "factor=2", "--gates", "frames_min=9", "--on-fail", "abort",
               "--error", "FAILED > 20% of 2 then revert", "--continuous")  # fmt: skip
    made = answer("start", "-f", str(file), *options)
    spec = made["spec"]
    assert [wave["devices"] for wave in made["waves"]] == [1, 5]
    assert (spec["pace"]["base_per_minute"], spec["pace"]["factor"]) == (5, 2)
    assert (spec["gates"]["frames_min"], spec["gates"]["on_fail"]) == (9, "abort")
    assert spec["errors"][0] == {
        "kinds": ["FAILED"], "percent": 20, "executed_min": 2, "then": "revert",
    }  # fmt: skip
    assert spec["continuous"] is True


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("--wave", "10%"), "waves.0.percent"),
        (("--wave", "0"), "waves.0.count"),
        (("--wave", "line=a", "--wave", "line=a"), "waves.1.selector"),
        (("--window", "61 2 * * * for 1h"), "window"),
        (("--select", "line=("), "selector"),
        (("--gates", "frame_min=1"), "gates.frame_min"),
        (("--pace", "base_per_minute=9,per_minute_max=3"), "pace"),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(
    hub: Hub, words: tuple[str, ...], field: str
) -> None:
    refused = argosy("start", "caps", "1", *words).exception
    assert isinstance(refused, CommandError), refused
    assert field in refused.message
    assert refused.remedy
    assert answer("list") == []


def test_decisions_are_kept_with_their_remarks(hub: Hub, api: HubClient) -> None:
    rollout_id = answer("start", "caps", "1", "--needs-approval", "--remark", "for line a")["id"]
    assert f"`argosy rollout approve {rollout_id}" in argosy("show", rollout_id).output
    assert argosy("watch", rollout_id).exit_code == EXIT_NOT_ON_ALL
    answer("approve", rollout_id, "--remark", "go")
    hub.settle()
    hub.succeed("dev-0")
    for verb, state in (("pause", "PAUSED"), ("resume", "RUNNING")):
        assert answer(verb, rollout_id, "--remark", f"{verb} it")["state"] == state
    stopping = answer("abort", rollout_id, "--revert", "--remark", "it sees worse")
    assert (stopping["state"], stopping["reverting"]) == ("STOPPING", True)
    assert "going back" in argosy("show", rollout_id).output

    journal = list(api.items(f"rollouts/{rollout_id}/journal"))
    said = [(entry["kind"], entry["text"]) for entry in journal if entry["by"] != "engine"]
    assert said == [
        ("created", "for line a"),
        ("approved", "go"),
        ("paused", "pause it"),
        ("resumed", "resume it"),
        ("aborted", "it sees worse"),
    ]
