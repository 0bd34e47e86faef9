"""The real agent as a process, with a folder of images as its camera."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.fixtures.models import flat_png
from tests.integration.brokers import RunningBroker
from tests.ports import free_port
from tests.starting import start_process

DEVICE_ID = "line-1"
SLOT = "tiny"

CONFIG = """\
[device]
id = "{device_id}"
data_dir = "data"

[hub]
url = "{hub_url}"
token = "secret"

[mqtt]
host = "127.0.0.1"
port = {port}

[[cameras]]
id = "cam"
source = "{images}"
slot = "{slot}"
loop = true
fps_max = 40

[outputs]
jsonl = "detections.jsonl"

[local]
port = 0

[limits]
reconnect_first_s = 0.1
reconnect_cap_s = 0.5
reported_delay_s = 0.05
reported_every_s = 1.0
chunk_stall_s = 0.5
http_fallback_after_s = {http_after_s}
resend_after_s = 1.0
probation_idle_s = 1.0
http_timeout_s = 2.0
{limits}
"""


class Device:
    """`argosy-agent run` in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        broker: RunningBroker,
        *,
        hub_url: str | None = None,
        http_after_s: float = 60.0,
        limits: str = "",
    ) -> None:
        self.folder = folder
        images = folder / "images"
        images.mkdir(parents=True)
        for number, grey in enumerate((0, 80, 160, 240)):
            (images / f"{number}.png").write_bytes(flat_png(grey, 64))
        self.config = folder / "agent.toml"
        self.config.write_text(
            CONFIG.format(
                device_id=DEVICE_ID,
                hub_url=hub_url or f"http://127.0.0.1:{free_port()}",
                port=broker.port,
                images=images,
                slot=SLOT,
                http_after_s=http_after_s,
                limits=limits,
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, faults: str = "", module: str = "edge_agent") -> None:
        """Start the agent; `faults` is the plan by which it fails."""
        with (self.folder / "agent.log").open("ab") as log:
            self.process = start_process(
                [sys.executable, "-m", module, "run", "--config", str(self.config)],
                cwd=str(self.folder),
                env={**os.environ, "PYTHONPATH": str(ROOT), "ARGOSY_FAULTS": faults},
                log=log,
            )

    def kill(self) -> None:
        """The power goes."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, as systemd does; the exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent", "status", "--json", "-c", str(self.config)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            timeout=30,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def detections(self) -> list[dict[str, Any]]:
        path = self.folder / "detections.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    @property
    def ended(self) -> int | None:
        """The exit status where the agent has ended by itself; None while it runs."""
        return None if self.process is None else self.process.poll()

    def met(self, point: str) -> bool:
        """Whether the plan's fault at `point` has come."""
        return re.search(rf"\bpoint={re.escape(point)}\b", self.log()) is not None

    def held_back_s(self) -> float:
        """For how long (s) the machine had no core for the agent when it wanted one: on its main
        thread, and on the one other thread that waited longest."""
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task")
        delays = {task.name: _run_delay_s(task) for task in tasks.iterdir()}
        main = delays.pop(str(self.process.pid), 0.0)
        return main + max(delays.values(), default=0.0)

    def processes(self) -> list[int]:
        """The agent and every process that it started and that still runs."""
        return sorted(int(p.name) for p in Path("/proc").glob("[0-9]*") if self._is_ours(p))

    def _is_ours(self, process: Path) -> bool:
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            return stat[0] != "Z" and (process / "cwd").resolve() == self.folder.resolve()
        except OSError:
            return False


def _run_delay_s(task: Path) -> float:
    """What Linux says of a thread: ns on a core, ns waiting for one, turns."""
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0
