"""`argosy serve` as a process: ready, found again, stopped without a trace."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.integration

ARGOSY = (sys.executable, "-m", "cloud.cli.main")
START_S_MAX = 60.0


def argosy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ARGOSY, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def serving(data: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """A running `argosy serve` and its hub.json."""
    command = [*ARGOSY, "serve", "--data", str(data), "--port", "0", *arguments]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S_MAX
        while not (data / "hub.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, json.loads((data / "hub.json").read_text())
    finally:
        process.kill()
        process.wait()


def ready(place: Any) -> bool:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline:
        answer = httpx.get(f"{place['url']}/readyz")
        if answer.status_code == 200:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_hub_starts_answers_and_stops_without_a_trace(
    tmp_path: Path, number: signal.Signals
) -> None:
    data = tmp_path / "hub"
    with serving(data) as (process, place):
        assert ready(place)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(number)
        assert process.wait(30) == 0
        psutil.wait_procs(children, timeout=10)
        assert [c for c in children if c.is_running() and c.status() != "zombie"] == []
    assert not (data / "hub.json").exists()


def test_ctrl_c_reaches_the_whole_terminal_and_the_broker_waits_for_the_hub(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as (process, place):
        assert ready(place)
        children = psutil.Process(process.pid).children(recursive=True)
        for child in children:
            child.send_signal(signal.SIGINT)
        # The broker still answers, and it is the same one.
        with socket.create_connection(("127.0.0.1", place["mqtt_port"]), timeout=5):
            pass
        assert all(child.is_running() and child.status() != "zombie" for child in children)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_two_hubs_never_use_one_folder(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, place):
        second = argosy("serve", "--data", str(tmp_path), "--port", "0")
        assert second.returncode == 1
        assert "another hub uses" in second.stderr
        assert "--data" in second.stderr
        assert ready(place)
        assert (tmp_path / "hub.json").exists()


def test_a_hub_takes_its_ports_again(tmp_path: Path) -> None:
    places = []
    for _ in range(2):
        with serving(tmp_path) as (process, place):
            places.append((place["url"], place["mqtt_port"]))
            process.terminate()
            process.wait(30)
    assert places[0] == places[1]


def test_a_killed_hub_leaves_no_broker_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        gone, alive = psutil.wait_procs(children, timeout=10)
    assert children
    assert (len(gone), alive) == (len(children), [])


def test_a_port_in_use_is_named_with_the_remedy(tmp_path: Path) -> None:
    with serving(tmp_path / "a") as (_, place):
        http_port = place["url"].rsplit(":", 1)[1]
        taken = argosy("serve", "--data", str(tmp_path / "b"), "--port", http_port)
        assert taken.returncode == 1
        assert http_port in taken.stderr
        assert "--port" in taken.stderr
        broker = argosy(
            "serve", "--data", str(tmp_path / "c"), "--port", "0", "--mqtt-port",
            str(place["mqtt_port"]),
        )  # fmt: skip
    assert broker.returncode == 1
    assert "--mqtt-port" in broker.stderr


def test_a_bind_off_loopback_without_tls_is_refused(tmp_path: Path) -> None:
    refused = argosy("serve", "--data", str(tmp_path), "--host", "0.0.0.0")  # noqa: S104
    assert refused.returncode == 1
    assert "TLS" in refused.stderr


def test_a_device_is_enrolled_by_hand(tmp_path: Path) -> None:
    data, out = tmp_path / "hub", tmp_path / "agent.toml"
    with serving(data) as (_, place):
        made = argosy(
            "device", "enrol", "line-1", "--data", str(data), "--model", "factory", "--label",
            "line=a", "--camera", "cam=/data/x.mp4", "--out", str(out),
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        assert place["url"] in out.read_text()
        listed = argosy("device", "list", "--data", str(data), "--json")
        assert json.loads(listed.stdout)[0]["labels"] == {"line": "a"}
        again = argosy(
            "device", "enrol", "line-1", "--data", str(data), "--model", "factory", "--out",
            str(tmp_path / "b.toml"),
        )  # fmt: skip
    assert again.returncode == 1
    assert "enrolled already" in again.stderr
