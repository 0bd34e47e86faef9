"""A fake hub and its one real device, with bundles by number."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.fixtures.models import write_bundle
from tests.integration.edge_agent.device import SLOT, Device
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for


class Fleet:
    """The hub and its one device, with bundles by number."""

    def __init__(self, hub: FakeHub, device: Device, folder: Path) -> None:
        self.hub, self.device, self.folder = hub, device, folder
        self.made: dict[int, tuple[str, Any]] = {}

    def offered(self, number: int) -> tuple[str, Any]:
        """The bundle of this number with its manifest, made where it is new."""
        if number not in self.made:
            folder = self.folder / f"b{number}"
            digest, manifest = write_bundle(folder, variant=number, version=number)
            self.hub.offer(folder, digest)
            self.made[number] = (digest, manifest)
        return self.made[number]

    def desire(self, number: int, attempt: int | None = None, **policies: Any) -> str:
        digest, manifest = self.offered(number)
        self.hub.desire(SLOT, digest, manifest, attempt=attempt or number, policies=policies)
        return digest

    def install(self, number: int, attempt: int | None = None, **policies: Any) -> str:
        digest = self.desire(number, attempt, **policies)
        self.reaches("SUCCEEDED", attempt or number)
        return digest

    def reaches(self, state: str, attempt: int) -> None:
        wait_for(lambda: state in self.hub.states(attempt), f"{state} of attempt {attempt}")

    def stays(self, state: str, attempt: int, seconds: float = 1.0) -> None:
        time.sleep(seconds)
        assert self.hub.states(attempt)[-1] == state

    def execution(self) -> Any:
        return self.hub.reports[-1].slots[SLOT].execution

    def serves(self, digest: str) -> None:
        wait_for(lambda: self.hub.running(SLOT) == digest, "the report of what serves")

    def alerts(self) -> list[str]:
        return [event.alert.name for event in self.hub.of("events") if event.alert]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edge_agent", *words, "-c", str(self.device.config)],
            cwd=self.device.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
