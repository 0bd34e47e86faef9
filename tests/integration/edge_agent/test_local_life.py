"""The real agent under a service manager's socket: ready, pages, watchdog, stop. No hub."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.local.address import read_address
from edge_agent.store import Store
from edge_agent.update.bundle_store import BundleStore
from edge_agent.update.states import Committed, committed_name
from tests.conftest import ROOT
from tests.fixtures.models import flat_png, write_bundle
from tests.fixtures.seeing import eventually
from tests.ports import free_port

pytestmark = pytest.mark.integration

CONFIG = """
device = {{ id = "box-1", data_dir = "data" }}
hub = {{ url = "http://127.0.0.1:{port}", token = "do-not-tell" }}
mqtt = {{ host = "127.0.0.1", port = {port} }}
local = {{ port = 0 }}

[[cameras]]
id = "cam"
source = "images"
slot = "tiny"
loop = true
fps_max = 20

[[cameras]]
id = "door"
source = "rtsp://user:do-not-tell@127.0.0.1:{port}/door"
slot = "tiny"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An agent's folder with a committed bundle, images and a camera that is offline."""
    images = tmp_path / "images"
    images.mkdir()
    for grey in (0, 80, 160, 240):
        (images / f"{grey}.png").write_bytes(flat_png(grey, 64))
    (tmp_path / "agent.toml").write_text(CONFIG.format(port=free_port()))
    store = Store(tmp_path / "data")
    store.open()
    digest, _ = write_bundle(tmp_path / "bundle")
    (tmp_path / "bundle").rename(BundleStore(store.bundles).path(digest))
    store.save(committed_name("tiny"), Committed(digest=digest))
    store.close()
    return tmp_path


@pytest.fixture
def manager() -> Iterator[tuple[str, socket.socket]]:
    """An abstract socket as systemd's, and its address."""
    address = f"argosy-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address)
        listener.settimeout(60)
        yield f"@{address}", listener


def until(listener: socket.socket, wanted: str) -> list[str]:
    """What is told up to `wanted`."""
    told: list[str] = []
    while wanted not in told:
        told.append(listener.recv(4096).decode())
    return told


def fetch(folder: Path, path: str) -> bytes:
    url = f"{read_address(folder / 'data')}{path}"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the agent's own
        return bytes(answer.read())


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "edge_agent", *arguments, "-c", "agent.toml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_agent_that_serves_says_so_and_shows_itself(
    folder: Path, manager: tuple[str, socket.socket]
) -> None:
    address, listener = manager
    environment = os.environ | {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": "60000000",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "log").open("wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", "run", "-c", "agent.toml", "--json-logs"],
            cwd=folder,
            env=environment,
            stderr=log,
        )
    try:
        until(listener, "READY=1")
        until(listener, "WATCHDOG=1")
        eventually(lambda: read_address(folder / "data"), "the pages are open")
        eventually(lambda: camera(folder, "cam")["results_per_s"], "frames are answered")
        eventually(lambda: camera(folder, "door")["state"] == "BACKING_OFF", "no door")
        assert fetch(folder, "/healthz") == b"ok\n"
        assert fetch(folder, "/preview/cam.jpg")[:3] == b"\xff\xd8\xff"
        assert b'argosy_slot_serves{slot="tiny"} 1.0' in fetch(folder, "/metrics")
        shown = json.loads(command(folder, "status", "--json").stdout)
        assert shown["live"]["cameras"]["cam"]["inferred"] > 0
        examined = json.loads(command(folder, "doctor", "--json").stdout)
        problems = {f["check"] for f in examined["findings"] if f["verdict"] == "problem"}
        assert problems == {"cameras", "hub", "broker"}
    finally:
        agent.send_signal(signal.SIGTERM)
        code = agent.wait(60)
    assert code == 0
    until(listener, "STOPPING=1")
    logged = (folder / "log").read_text()
    assert "do-not-tell" not in logged
    lines = [json.loads(line) for line in logged.splitlines() if line.startswith("{")]
    assert {line["device"] for line in lines} == {"box-1"}
    assert any(line.get("camera") == "door" for line in lines)


def camera(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fetch(folder, "/status.json"))["cameras"][name]
    return found
