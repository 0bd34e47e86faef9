"""A real `mlflow server` from its own environment, on a free loopback port."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import ROOT, lacking
from tests.ports import free_port

MLFLOW = ROOT / ".venv-mlflow" / "bin" / "mlflow"
START_DEADLINE_S = 180.0


@dataclass
class MlflowServer:
    """The server and its power switch: `stop` and `start` keep port and data."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers. Raises TimeoutError with the end of its log."""
        if not MLFLOW.exists():
            lacking("there is no .venv-mlflow with an MLflow server; `make setup-mlflow` makes it")
        command = [
            str(MLFLOW), "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}",
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        # Its runners of background jobs, which no mirror asks for, double the start's time.
        quiet["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env={**os.environ, **quiet},
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=1.0).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise TimeoutError(f"no MLflow server: {log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it as a power cut would: the server and its workers, by their group."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
