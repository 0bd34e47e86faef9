from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from edge_agent.logs import set_up_logs
from tests.unit.test_house_rules import ROOT


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    error = OSError("rtsp://user:secret@10.0.0.9/door does not open")
    source = "http://a:b@host/c?d=e@f"
    structlog.get_logger("x").error("camera_failed", camera="door", source=source, exc_info=error)
    structlog.get_logger("x").debug("quiet")
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_line_of_json_names_device_and_camera_and_no_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs(json_lines=True, verbose=False, device="box-1")
    line = json.loads(logged(capsys))
    assert (line["device"], line["camera"], line["level"]) == ("box-1", "door", "error")
    assert line["source"] == "http://host/c?d=e@f"
    assert "secret" not in line["exception"]
    assert "rtsp://10.0.0.9/door does not open" in line["exception"]


def test_lines_for_people_hold_no_secret_either(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(json_lines=False, verbose=True)
    told = logged(capsys)
    assert "camera_failed" in told
    assert "secret" not in told
    assert "quiet" in told


LOGS_A_NAME = """
import structlog
from edge_agent.logs import set_up_logs
set_up_logs(json_lines=%s, verbose=False)
structlog.get_logger("x").warning("leftover", path=chr(0xdce9), error=OSError(chr(0xdce9)))
structlog.get_logger("x").error("camera_failed", exc_info=OSError(chr(0xdce9)))
"""


@pytest.mark.parametrize("json_lines", [True, False])
def test_a_name_in_another_encoding_is_logged_and_ends_nothing(json_lines: bool) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LOGS_A_NAME % json_lines],
        env={"PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "leftover" in ran.stderr and "camera_failed" in ran.stderr
    assert ran.stderr.count("\\udce9") >= 3
