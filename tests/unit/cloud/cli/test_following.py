"""Watching long work: lines where there is no terminal, and what is said when watching ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner, Result

from cloud.cli import client as cli_client
from cloud.cli import rollout, rollout_watch, watching
from cloud.cli.client import CommandError, HubClient
from cloud.cli.job import jobs
from cloud.cli.train import training

BUILD: dict[str, Any] = {
    "id": "j-1",
    "kind": "build",
    "state": "RUNNING",
    "progress": {},
    "error": None,
    "result": {},
}
TRAINING: dict[str, Any] = {
    "id": "t-1",
    "model": "caps",
    "state": "RUNNING",
    "progress": {},
    "error": None,
}
ROLLOUT: dict[str, Any] = {
    "id": "r-1",
    "name": "r",
    "state": "RUNNING",
    "outcome": None,
    "reason": "",
    "wave": 0,
    "asks": None,
    "reverting": False,
    "spec": {},
    "waves": [],
    "executions": [],
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_S", 0)
    monkeypatch.setattr(rollout_watch, "POLL_S", 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command while the hub answers with one thing after the other; an error is raised."""

    def run(group: typer.Typer, *words: str, answers: list[Any]) -> Result:
        left: Iterator[Any] = iter(answers)

        def answer(_: httpx.Request) -> httpx.Response:
            found = next(left)
            if isinstance(found, BaseException):
                raise found
            return httpx.Response(200, json=found)

        made = HubClient("http://hub", "token", transport=httpx.MockTransport(answer))
        monkeypatch.setattr(cli_client, "open_client", lambda *_: made)
        return CliRunner().invoke(group, list(words))

    return run


def at(stage: str, done: float, remaining_s: float | None = None) -> dict[str, Any]:
    progress = {"stage": stage, "done": done, "total": 200, "remaining_s": remaining_s}
    return {**BUILD, "progress": progress}


def lines(result: Result) -> list[str]:
    """What was written, without the time of day."""
    return [line[9:] for line in result.stdout.splitlines() if line[2:3] == ":"]


def test_a_job_without_a_terminal_writes_a_line_for_each_stage_and_step(
    told: Callable[..., Result],
) -> None:
    answers = [
        {**BUILD, "state": "QUEUED"},
        at("evaluating", 1),
        at("evaluating", 2),
        at("evaluating", 25, 70.0),
        at("timing", 0),
        {**BUILD, "state": "SUCCEEDED"},
    ]
    assert lines(told(jobs, "watch", "j-1", answers=answers)) == [
        "build queued",
        "build evaluating  1/200",
        "build evaluating  25/200  1:10 left",
        "build timing  0/200",
        "build succeeded",
    ]
    assert lines(told(jobs, "watch", "j-1", "--json", answers=answers)) == []


def test_a_training_without_a_terminal_writes_a_line_for_each_epoch(
    told: Callable[..., Result],
) -> None:
    answers = [
        {**TRAINING, "progress": {"epoch": epoch, "epochs": 3, "remaining_s": 60.0 - epoch}}
        for epoch in (0, 0, 1, 1, 2)
    ]
    answers.append({**TRAINING, "state": "SUCCEEDED"})
    said = lines(told(training, "watch", "t-1", answers=answers))
    assert said == [
        "caps running  epoch 0/3  1:00 left",
        "caps running  epoch 1/3  0:59 left",
        "caps running  epoch 2/3  0:58 left",
        "caps succeeded",
    ]


@pytest.mark.parametrize(
    ("group", "name", "first", "becomes"),
    [
        (jobs, "job watch j-1", BUILD, "queued again"),
        (training, "train watch t-1", TRAINING, "FAILED"),
        (rollout.rollouts, "rollout watch r-1", ROLLOUT, "the rollout goes on"),
    ],
)
def test_the_end_of_watching_is_not_the_end_of_the_work(
    told: Callable[..., Result], group: typer.Typer, name: str, first: Any, becomes: str
) -> None:
    words = name.split()[1:]
    died = told(group, *words, answers=[first, httpx.ConnectError("refused")])
    assert isinstance(died.exception, CommandError)
    assert "does not answer" in died.exception.message
    stopped = told(group, *words, answers=[first, KeyboardInterrupt()])
    assert stopped.exit_code == watching.EXIT_INTERRUPTED
    for said in (died.exception.remedy, stopped.stderr):
        assert becomes in said
        assert f"`argosy {name}`" in said
