"""The exit status tells a verdict; no number that JSON lacks is sent; each command has --json."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from cloud.cli import client as cli_client
from cloud.cli.build import builds
from cloud.cli.client import CommandError, HubClient
from cloud.cli.job import EXIT_FELL_SHORT, jobs, subject_in_words
from cloud.cli.main import commands as all_commands
from cloud.cli.promote import promotion
from cloud.cli.rollout import rollouts
from cloud.cli.rollout_plan import EXIT_NOT_ON_ALL
from cloud.cli.train import training

JOB: dict[str, Any] = {
    "id": "ab12cd34" * 4,
    "kind": "build",
    "subject": "model/caps/2",
    "parameters": {},
    "state": "SUCCEEDED",
    "progress": {},
    "error": None,
    "result": {},
    "created_at": 1_796_000_000.0,
}
EVIDENCE = {
    "id": "e-1",
    "model": "caps",
    "candidate": 2,
    "incumbent": 1,
    "reason": "why",
    "more_images": None,
    "components": [],
}
ROW = {"target": "onnx-int8", "digest": "ab" * 32, "stands": "ADMITTED", "by_hand": None}
HAND = {"by": "ann", "at": 1_796_000_000.0, "outcome": "REJECTED", "reason": "blurry"}


def the_hub(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[Any]:
    """A hub that answers by the last word of a path, else with the job; what it was sent."""
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content or b"null"))
        last = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json=answers.get(last, answers["job"]))

    made = HubClient("http://hub", "token", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(cli_client, "open_client", lambda *_: made)
    return sent


def status(group: typer.Typer, *words: str) -> int:
    return CliRunner(env={"COLUMNS": "200"}).invoke(group, list(words)).exit_code


def built(outcome: str, **row: Any) -> dict[str, Any]:
    return {"builds": [{**ROW, "outcome": "ADMITTED"}, {**ROW, "outcome": outcome, **row}]}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, 0),
        (built("ADMITTED"), 0),
        (built("THERE"), 0),
        (built("REJECTED", stands="REJECTED"), EXIT_FELL_SHORT),
        (built("FAILED", digest=None), EXIT_FELL_SHORT),
        (built("THERE", stands="REJECTED", by_hand=HAND), EXIT_FELL_SHORT),
        ({"outcome": "REJECTED"}, EXIT_FELL_SHORT),
        ({"verdict": "PASS"}, 0),
        ({"verdict": "FAIL"}, EXIT_FELL_SHORT),
        ({"verdict": "INCONCLUSIVE"}, EXIT_FELL_SHORT),
    ],
)
def test_a_bad_verdict_ends_a_watch_with_its_status(
    monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], expected: int
) -> None:
    the_hub(monkeypatch, {"job": {**JOB, "result": result}})
    assert status(jobs, "watch", "j") == expected
    assert status(jobs, "watch", "j", "--json") == expected
    if "builds" in result:
        assert status(builds, "start", "caps", "2") == expected
        assert status(builds, "start", "caps", "2", "--json") == expected


@pytest.mark.parametrize(("verdict", "expected"), [("PASS", 0), ("FAIL", 3), ("INCONCLUSIVE", 3)])
def test_a_gate_that_does_not_pass_ends_the_check_with_its_status(
    monkeypatch: pytest.MonkeyPatch, verdict: str, expected: int
) -> None:
    job = {**JOB, "result": {"verdict": verdict, "evidence": "e-1"}}
    the_hub(monkeypatch, {"job": job, "e-1": {**EVIDENCE, "verdict": verdict}})
    assert status(promotion, "check", "caps", "2") == expected
    assert status(promotion, "check", "caps", "2", "--json") == expected


def test_the_status_is_that_of_rollouts_and_in_the_help() -> None:
    assert EXIT_FELL_SHORT == EXIT_NOT_ON_ALL
    for group, verb in ((jobs, "watch"), (builds, "start"), (promotion, "check")):
        said = CliRunner().invoke(group, [verb, "--help"]).output
        assert f"Exit status {EXIT_FELL_SHORT}" in said


def test_what_is_there_already_says_whether_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    there = built("THERE", stands="REJECTED", by_hand=HAND, reasons=["mAP50 fell"])
    the_hub(monkeypatch, {"job": {**JOB, "result": there}})
    said = CliRunner(env={"COLUMNS": "200"}).invoke(builds, ["start", "caps", "2"]).output
    assert "onnx-int8: is there already, REJECTED" in said
    assert "onnx-int8: REJECTED by ann on 2026-11-30 00:53 UTC: blurry" in said


@pytest.mark.parametrize(
    ("group", "words", "key"),
    [
        (training, ("start", "caps", "caps", "--set", "lr0=1e999"), "parameters.lr0 is inf"),
        (training, ("start", "caps", "caps", "--set", "lr0=NaN"), "parameters.lr0 is nan"),
        (training, ("start", "a", "b", "--set", "x=[1,-Infinity]"), "parameters.x[1] is -inf"),
        (rollouts, ("start", "caps", "1", "--soak-s", "inf"), "soak_s is inf"),
        (rollouts, ("start", "caps", "1", "--wave", "nan%"), "waves[0].percent is nan"),
        (rollouts, ("start", "caps", "1", "--shadow", "share=nan"), "shadow.share is nan"),
        (builds, ("reject", "ab", "--reason", "a\udcff"), "reason is no UTF-8 text"),
    ],
)
def test_what_json_cannot_say_is_refused_by_its_key(
    monkeypatch: pytest.MonkeyPatch, group: typer.Typer, words: tuple[str, ...], key: str
) -> None:
    sent = the_hub(monkeypatch, {"job": JOB})
    refused = CliRunner().invoke(group, list(words)).exception
    assert isinstance(refused, CommandError), refused
    assert key in refused.message
    assert sent == []


def test_jobs_are_listed_by_short_ids_with_whole_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    error = "the file cannot be opened\n" + "because of its operators " * 6 + "Loop, If"
    failed = {**JOB, "kind": "import", "state": "FAILED", "error": error,
              "subject": "model/caps", "parameters": {"name": "detector.onnx"}}  # fmt: skip
    the_hub(monkeypatch, {"job": {"items": [JOB, failed], "next": None}})
    lines = CliRunner(env={"COLUMNS": "80"}).invoke(jobs, ["list"]).output.splitlines()
    assert lines[1].split()[:5] == ["ab12cd34", "build", "caps", "v2", "SUCCEEDED"]
    assert "caps < detector.onnx" in lines[2]
    assert [line.strip() for line in lines[3:]] == error.splitlines()
    assert max(map(len, lines[:3])) <= 80
    assert subject_in_words({**JOB, "subject": "device/box-1"}) == "device/box-1"


@pytest.mark.parametrize(("group", "path"), [(jobs, "j"), (training, "j")])
def test_a_log_as_json(monkeypatch: pytest.MonkeyPatch, group: typer.Typer, path: str) -> None:
    the_hub(monkeypatch, {"job": JOB, "log": "one"})
    said = json.loads(CliRunner().invoke(group, ["log", path, "--json"]).output)
    assert said == {"job": path, "log": '"one"'}


def test_each_command_that_asks_the_hub_has_json() -> None:
    """A worker serves until it is stopped, and answers nothing."""
    asking = list(_asking(all_commands))
    assert len(asking) > 50
    assert [name for name, keys in asking if "as_json" not in keys] == ["worker run"]


def _asking(group: typer.Typer, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    for command in group.registered_commands:
        assert command.callback is not None
        keys = set(inspect.signature(command.callback).parameters)
        if {"data", "url"} <= keys:
            yield f"{prefix}{command.name}", keys
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _asking(inner.typer_instance, f"{prefix}{inner.name} ")
