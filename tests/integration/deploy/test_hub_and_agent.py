"""A hub and an agent over the shipped broker, enrolled by the trial's own script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.integration.deploy.shipped_broker import ShippedBroker, install
from tests.integration.deploy.test_mosquitto import certify

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0
STOP_S = 20.0
ARGOSY = "from cloud.cli.main import app; app()"


@contextmanager
def process(folder: Path, name: str, *words: str) -> Iterator[None]:
    """A program of ours until the end of the block; its output goes to `name`.log."""
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=log, stderr=log) as running,
    ):
        try:
            yield
        finally:
            running.terminate()
            try:
                running.wait(STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()


def eventually(what: str, ask: Callable[[], Any]) -> Any:
    """The first true answer of `ask` within the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ShippedBroker]:
    (tmp_path / "broker").mkdir()
    broker = install(tmp_path / "broker", ["hub", "line-1"])
    certify(broker.folder / "tls")
    with broker.running():
        yield broker


@pytest.fixture
def hub_url(broker: ShippedBroker, tmp_path: Path) -> Iterator[str]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "hub.toml").write_text(
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
        f'username = "hub"\npassword = "{broker.passwords["hub"]}"\n'
    )
    words = ("-c", ARGOSY, "serve", "--data", str(data), "--port", "0")
    with process(tmp_path, "hub", *words):
        eventually("the hub is ready", (data / "hub.json").exists)
        yield json.loads((data / "hub.json").read_text())["url"]


def enrolled(tmp_path: Path, broker: ShippedBroker, hub_url: str) -> Path:
    """agent.toml as deploy/trial/enrol.sh writes it."""
    shims = tmp_path / "bin"
    shims.mkdir()
    (shims / "argosy").write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{ARGOSY}' \"$@\"\n")
    (shims / "argosy").chmod(0o755)
    (shims / "python").symlink_to(sys.executable)
    (tmp_path / "data" / "broker.json").write_text(json.dumps(broker.passwords))
    (tmp_path / "devices" / "line-1").mkdir(parents=True)
    environment = {
        **os.environ,
        "PATH": f"{shims}:{os.environ['PATH']}",
        "DEVICES": str(tmp_path / "devices"),
        "DATA": str(tmp_path / "data"),
        "HUB": hub_url,
        "PYTHONPATH": str(ROOT),
    }
    script = ROOT / "deploy" / "trial" / "enrol.sh"
    for _ in range(2):  # a second time changes nothing
        subprocess.run(["sh", str(script), "line-1"], env=environment, check=True, timeout=60)
    return tmp_path / "devices" / "line-1" / "agent.toml"


def test_hub_and_agent_work_over_the_shipped_broker(
    broker: ShippedBroker, hub_url: str, tmp_path: Path
) -> None:
    config = enrolled(tmp_path, broker, hub_url)
    token = (tmp_path / "data" / "admin.token").read_text().strip()
    api = httpx.Client(base_url=f"{hub_url}/api/v1/", headers={"Authorization": f"Bearer {token}"})

    def device() -> dict[str, Any]:
        found: dict[str, Any] = api.get("devices/line-1").json()
        return found

    with api, process(tmp_path, "agent", "-m", "edge_agent", "run", "--config", str(config)):
        eventually("the agent is online", lambda: device()["presence"] == "online")
        change = api.put("devices/line-1/desired", json={"telemetry_window_s": 5})
        generation = change.json()["desired_generation"]
        eventually(
            "the agent has taken the desired state",
            lambda: (device()["reported"] or {}).get("desired_generation") == generation,
        )
