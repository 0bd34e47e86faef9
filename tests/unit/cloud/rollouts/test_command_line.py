"""The slice from the command line, against a database without a broker."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient
from rich.console import Console

from cloud.access.principal import Role
from cloud.cli import client as cli_client
from cloud.cli.client import HubClient
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL
from cloud.cli.rollout_watch import picture
from protocol.states import ExecutionState
from tests.unit.cloud.rollouts.conftest import Hub, token
from tests.unit.cloud.rollouts.terminal import argosy


@pytest.fixture
def api(hub: Hub, http: TestClient, monkeypatch: pytest.MonkeyPatch) -> HubClient:
    client = HubClient("http://hub", token(hub, Role.OPERATOR), transport=http._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    return client


@pytest.mark.usefixtures("api")
def test_start_watch_and_list_from_the_command_line(hub: Hub) -> None:
    started = argosy("start", "caps", "1", "--device", "dev-0", "--wave", "100%", "--json")
    rollout = json.loads(started.output)
    hub.settle()
    hub.succeed("dev-0")
    hub.settle()

    watched = argosy("watch", rollout["id"], "--json")
    assert watched.exit_code == 0
    assert json.loads(watched.output)["outcome"] == "SUCCEEDED"
    assert "dev-0" in argosy("show", rollout["id"]).output
    assert json.loads(argosy("list", "--json").output)[0]["state"] == "FINISHED"


@pytest.mark.usefixtures("api")
def test_watch_says_by_its_status_that_not_all_have_it(hub: Hub) -> None:
    rollout_id = hub.create()
    for verb, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "STOPPING")):
        assert json.loads(argosy(verb, rollout_id, "--json").output)["state"] == state
    hub.settle()

    assert argosy("watch", rollout_id).exit_code == EXIT_NOT_ON_ALL


def test_the_picture_shows_a_bar_for_each_wave(hub: Hub, api: HubClient) -> None:
    rollout_id = hub.create(waves=[{"count": 2}])
    hub.settle()
    first, second = [k[0] for k, row in hub.executions(rollout_id).items() if row.started_at]
    hub.succeed(first)
    hub.report(second, ExecutionState.FAILED)
    console = Console(record=True, width=120, file=None)

    with console.capture() as captured:
        console.print(picture(api.get(f"rollouts/{rollout_id}")))

    _, wave_1, wave_2 = captured.get().splitlines()
    assert wave_1.count("█") == 40
    assert "1 FAILED, 1 SUCCEEDED" in wave_1
    assert wave_2.count("·") == 40


@pytest.mark.usefixtures("api")
def test_policies_from_the_command_line_are_shown(hub: Hub) -> None:
    words = ("--shadow", "share=0.1", "--window", "0 2 * * * for 2h", "--site-atomic")
    started = argosy("start", "caps", "1", *words, "--timeout-s", "90000", "--json")
    shown = json.loads(argosy("show", json.loads(started.output)["id"], "--json").output)["spec"]
    assert shown["shadow"]["share"] == 0.1
    assert shown["window"] == {"cron": "0 2 * * *", "duration_s": 7200, "time_zone": None}
    assert (shown["site_atomic"], shown["timeout_s"]) == (True, 90000)
    refused = argosy("start", "caps", "1", "--shadow", "shaer=0.1")
    assert refused.exit_code != 0


def test_a_device_that_asks_is_shown_with_the_command_and_accepted(
    hub: Hub, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = HubClient("http://hub", token(hub, Role.APPROVER), transport=http._transport)
    monkeypatch.setattr(cli_client, "open_client", lambda *_: client)
    rollout_id = hub.create(devices=["dev-0"], shadow={})
    hub.settle()
    for state in (ExecutionState.SHADOWING, ExecutionState.SHADOWING):
        hub.report("dev-0", state, figures={"shadow_inconclusive": 1.0})

    (row,) = client.get(f"rollouts/{rollout_id}")["executions"]
    assert (row["shadow"], row["waits_for"]) == (
        "INCONCLUSIVE",
        "a person: its shadow is INCONCLUSIVE",
    )
    console = Console(record=True, width=200)
    with console.capture() as captured:
        console.print(picture(client.get(f"rollouts/{rollout_id}")))
    assert f"`argosy rollout accept {rollout_id} --device dev-0`" in captured.get()
    accepted = argosy("accept", rollout_id, "--device", "dev-0", "--json")
    assert json.loads(accepted.output)["executions"][0]["shadow"] == "ACCEPTED"
    assert argosy("accept", rollout_id, "--device", "dev-1").exit_code != 0
