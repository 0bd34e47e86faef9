from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from rich.console import Console
from typer.testing import CliRunner

from edge_agent.__main__ import app
from edge_agent.doctor.examination import CHECKS, ELSEWHERE, examine, table
from edge_agent.doctor.finding import Box, Finding, advice, ok

CONFIG = """
[device]
id = "box-1"
data_dir = "data"
[hub]
url = "http://127.0.0.1:9"
token = "do-not-tell"
[mqtt]
host = "127.0.0.1"
port = 9
[local]
port = 0
[[channels]]
id = "feed"
type = "csv"
path = "feed.csv"
[[cameras]]
id = "door"
source = "rtsp://user:do-not-tell@127.0.0.1:9/door"
slot = "s"
"""


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG)
    return path


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(config: Path) -> None:
    def breaks(_box: Box) -> Iterator[Finding]:
        yield ok("so far")
        raise RuntimeError("on purpose")

    found = examine(config, checks={"one": breaks, "two": lambda _box: [advice("a", "b")]})
    assert not found["healthy"]
    assert [f["verdict"] for f in found["findings"]] == ["problem", "advice"]
    assert "on purpose" in found["findings"][0]["text"]


def test_advice_alone_is_healthy(config: Path) -> None:
    assert examine(config, checks={"x": lambda _box: [advice("a", "b")]})["healthy"]


def test_what_cannot_be_reached_is_named_and_no_secret_is(config: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "-c", str(config), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    problems = {f["check"] for f in found["findings"] if f["verdict"] == "problem"}
    assert problems == {"cameras", "hub", "broker"}
    assert "do-not-tell" not in result.output
    assert {f["check"] for f in found["findings"]} == set(CHECKS)


def test_offline_looks_at_this_box_alone(config: Path) -> None:
    found = examine(config, offline=True)
    assert {f["check"] for f in found["findings"]} == set(CHECKS) - ELSEWHERE
    assert [f for f in found["findings"] if f["verdict"] == "problem"] == []


def test_a_bad_configuration_is_named_by_its_line_and_the_rest_is_examined(
    config: Path,
) -> None:
    config.write_text(CONFIG.replace("port = 0", 'port = "none"'))
    found = examine(config, offline=True)
    told = [f["text"] for f in found["findings"] if f["check"] == "configuration"]
    assert any(":12: local.port" in text for text in told)
    assert any(f["check"] == "runtimes" for f in found["findings"])
    shown = io.StringIO()
    Console(file=shown, width=200).print(table(found))
    assert "PROBLEM" in shown.getvalue()
