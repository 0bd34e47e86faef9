"""`argosy-agent run` as a process, with a bundle that it committed before it was started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_agent.store import Store
from edge_agent.update.states import Committed, committed_name

ROOT = Path(__file__).resolve().parents[2]
STOP_DEADLINE_S = 30.0

HEAD = """\
[device]
id = "{device}"
data_dir = "data"

[hub]
url = "http://127.0.0.1:{port}"
token = "secret"

[mqtt]
host = "127.0.0.1"
port = {port}

[outputs]
jsonl = "detections.jsonl"

"""


@dataclass(frozen=True)
class Camera:
    """A table of agent.toml."""

    id: str
    source: str
    slot: str
    loop: bool = False
    live: bool | None = None
    fps_max: float | None = None

    def table(self) -> str:
        """As TOML; what is not given is left out."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
        return "\n".join(["[[cameras]]", *lines, "", ""])


class WholeAgent:
    """The agent in a folder of its own; `nice` is added to its priority."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str,
        port: int,
        cameras: Sequence[Camera],
        more: str = "",
        nice: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._nice = folder, nice
        self.lines = folder / "detections.jsonl"
        self._config = folder / "agent.toml"
        tables = "".join(camera.table() for camera in cameras)
        self._config.write_text(HEAD.format(device=device, port=port) + tables + more)
        self.process: subprocess.Popen[bytes] | None = None

    def commit(self, slot: str, bundle: Path, digest: str) -> None:
        """Lay the bundle into the data folder as the one that the slot serves."""
        store = Store(self.folder / "data")
        store.open()
        shutil.copytree(bundle, store.bundles / digest)
        store.save(committed_name(slot), Committed(digest=digest))
        store.close()

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge_agent", "run", "--config", str(self._config)],
                cwd=self.folder,
                env=environment(),
                stdout=log,
                stderr=log,
            )
        if self._nice:
            psutil.Process(self.process.pid).nice(self._nice)

    def results(self) -> int:
        """Lines written so far."""
        return self.lines.read_bytes().count(b"\n") if self.lines.exists() else 0

    def rss_bytes(self) -> int:
        """Of the process and its children. Raises RuntimeError where it has ended."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"the agent has ended: {self.log()[-2000:]}")
        return rss_bytes(self.process.pid)

    def stop(self) -> int:
        """SIGTERM, as systemd does; the exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


def environment() -> dict[str, str]:
    """As an installed agent's: its modules' bytecode is kept, as that of every package is."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and all its children."""
    parent = psutil.Process(pid)
    found = parent.memory_info().rss
    for child in parent.children(recursive=True):
        try:
            found += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return int(found)
