"""`argosy device enrol` and the files it writes; errors that name the thing and the remedy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tomllib

from cloud.cli import client
from cloud.cli.client import CommandError, HubClient
from cloud.cli.device import agent_toml, parse_camera, reported_fields
from cloud.cli.main import app


@pytest.mark.parametrize(
    ("text", "source", "slot"),
    [
        ("cam=rtsp://host:554/live", "rtsp://host:554/live", "factory"),
        ("cam=rtsp://host:554/live:shelf", "rtsp://host:554/live", "shelf"),
        ("cam=http://host:8080", "http://host:8080", "factory"),
        ("cam=usb:0", "usb:0", "factory"),
        ("cam=usb:0:shelf", "usb:0", "shelf"),
        ("cam=/data/a.mp4:shelf", "/data/a.mp4", "shelf"),
        ("cam=/data/a:b.mp4", "/data/a:b.mp4", "factory"),
    ],
)
def test_cameras_as_they_are_typed(text: str, source: str, slot: str) -> None:
    parsed = parse_camera(text, ["factory", "shelf"])
    assert parsed == {"id": "cam", "source": source, "slot": slot}


@pytest.mark.parametrize("text", ["cam", "=x", "c m=x"])
def test_what_is_no_camera_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="no camera"):
        parse_camera(text, ["factory"])


def test_the_configuration_is_toml_that_says_the_same() -> None:
    sections: dict[str, dict[str, Any]] = {
        "device": {"id": "a"},
        "mqtt": {"port": 1883, "tls": False, "host": 'q"\\é'},
    }
    cameras = [{"id": "c", "source": "x", "slot": "m"}, {"id": "d", "source": "y", "slot": "m"}]
    assert tomllib.loads(agent_toml(sections, cameras)) == {**sections, "cameras": cameras}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["argosy", *arguments])
    with pytest.raises(SystemExit) as ended:
        app()
    return int(ended.value.code or 0)


def test_without_a_hub_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ARGOSY_TOKEN", raising=False)
    assert run(monkeypatch, "device", "list", "--data", str(tmp_path)) == 1
    assert "argosy serve" in capsys.readouterr().err


def test_a_hub_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARGOSY_TOKEN", "x")
    assert run(monkeypatch, "device", "list", "--url", "http://127.0.0.1:9") == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_tokens_come_from_the_environment_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "admin.token").write_text("from-file\n")
    monkeypatch.delenv("ARGOSY_TOKEN", raising=False)
    assert client.read_token(tmp_path) == "from-file"
    monkeypatch.setenv("ARGOSY_TOKEN", "from-environment")
    assert client.read_token(tmp_path) == "from-environment"


def test_light_commands_load_no_heavy_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    code = (
        "import sys, cloud.cli.main; "
        "print([m for m in ('torch', 'fastapi', 'sqlalchemy', 'cv2', 'ultralytics')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_refusals_keep_the_hubs_words() -> None:
    import httpx

    def answer(_: httpx.Request) -> httpx.Response:
        error = {"code": "conflict", "message": "it exists", "remedy": "choose another"}
        return httpx.Response(409, json={"error": error})

    hub = HubClient("http://hub", "token", transport=httpx.MockTransport(answer))
    with pytest.raises(CommandError) as refused:
        hub.post("devices", {})
    assert (refused.value.message, refused.value.remedy) == ("it exists", "choose another")


def test_a_slot_is_shown_with_its_engine_and_the_lines_veto() -> None:
    reported: dict[str, Any] = {
        "agent_version": "1",
        "slots": {
            "caps": {
                "running_digest": "a" * 64,
                "engine": "b" * 64,
                "veto_until": 5000.0,
                "execution": {"state": "WAITING_WINDOW"},
            },
            "shelf": {},
        },
    }
    shown = reported_fields(reported)
    assert shown is not None
    assert shown["slots"] == {
        "caps": {
            "running": "a" * 64,
            "engine": "b" * 64,
            "veto_until_at": 5000.0,
            "update": "WAITING_WINDOW",
        },
        "shelf": {},
    }
    assert reported_fields(None) is None
