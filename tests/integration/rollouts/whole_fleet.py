"""A hub, a Mosquitto and a fleet of virtual devices, each a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud import serving, settings
from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.fleet import service as fleet
from cloud.hub import Hub
from cloud.registry import service as registry
from cloud.registry.service import NewVersion
from simulators.hub import Hub as HubOverHttp
from simulators.hub import HubAddress
from tests.fixtures.models import write_bundle
from tests.integration.brokers import RunningBroker, mosquitto
from tests.starting import start_process

MODEL = "factory"
ADMIN = Principal(PrincipalKind.USER, "ada", Role.ADMINISTRATOR)
ENROLLED_AT_ONCE = 500
START_S_MAX = 180.0
POLL_S = 0.25
PREFIX = "virtual"


@dataclass(frozen=True)
class Processes:
    """Their ids, in words."""

    hub: int
    driver: int
    broker: int


class WholeFleet:
    """A fleet that is online, and a build that it does not run yet.

    Attributes:
        bundle_bytes: of the build, its manifest included.
    """

    def __init__(self, folder: Path, devices: int, bundle_bytes_min: int) -> None:
        self.devices = devices
        self.data = folder / "hub"
        self._folder = folder
        self.broker: RunningBroker
        self.processes: Processes
        self.digest, self.bundle_bytes = self._prepare(bundle_bytes_min)

    def _prepare(self, bundle_bytes_min: int) -> tuple[str, int]:
        """The hub's data folder with all devices enrolled and one version registered."""
        hub = serving.initialise(settings.load(self.data))
        try:
            with hub.database.transaction() as session:
                registry.create_model(session, ADMIN, MODEL, ["scratch", "dent"])
            names = names_of(self.devices)
            for start in range(0, len(names), ENROLLED_AT_ONCE):
                with hub.database.transaction() as session:
                    for name in names[start : start + ENROLLED_AT_ONCE]:
                        fleet.enrol(session, ADMIN, name, models=[MODEL])
            return publish(hub, self._folder / "v1", bundle_bytes_min)
        finally:
            hub.stop()

    def start(self, stack: ExitStack) -> None:
        """Start broker, hub and devices; return when every device is online."""
        self.broker = stack.enter_context(
            mosquitto(self._folder, more=["sys_interval 1", "max_connections -1"])
        )
        url = f"mqtt://{self.broker.host}:{self.broker.port}"
        serve = ["-m", "cloud.cli.main", "serve", "--data", str(self.data), "--port", "0"]
        hub = stack.enter_context(self._process("hub", [*serve, "--mqtt-url", url]))
        self._wait((self.data / "hub.json").exists, "the hub's start")
        devices = ["-m", "simulators", "device", "--hub", str(self.data), "--model", MODEL]
        devices += ["--count", str(self.devices), "--prefix", PREFIX]
        driver = stack.enter_context(self._process("driver", devices))
        self._wait(lambda: self.online() == self.devices, "every device online")
        self.processes = Processes(hub.pid, driver.pid, self.broker.pid)

    @contextmanager
    def _process(self, name: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, *arguments]
        environment = {**os.environ, "ARGOSY_LOG_LEVEL": "WARNING"}
        with (self._folder / f"{name}.log").open("ab") as log:
            process = start_process(command, log=log, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def roll_out(self, **asked: Any) -> str:
        """Begin a rollout as an operator does, over HTTP; its id."""
        made = self._http().post("/rollouts", {"model": MODEL, "version": 1, **asked})
        return str(made["id"])

    def wait_finished(
        self, rollout_id: str, deadline_s: float, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Return when the rollout has finished; look at `meanwhile` again and again until then.

        Raises TimeoutError with what was reached, and with the ends of the processes' logs.
        """

        def finished() -> bool:
            meanwhile()
            return self.state(rollout_id)[0] == "FINISHED"

        try:
            self._wait(finished, "the rollout's end", deadline_s)
        except TimeoutError as error:
            reached = f"{self.state(rollout_id)} {self.executions(rollout_id)}"
            raise TimeoutError(f"{error}\n{reached}") from error

    def online(self) -> int:
        return int(self._ask("SELECT count(*) FROM device WHERE presence = 'online'")[0][0])

    def state(self, rollout_id: str) -> tuple[str, str | None, str]:
        """State, outcome and reason of a rollout."""
        found = self._ask("SELECT state, outcome, reason FROM rollout WHERE id = ?", rollout_id)
        state, outcome, reason = found[0]
        return state, outcome, reason

    def executions(self, rollout_id: str) -> dict[str, int]:
        """How many executions are in each state."""
        text = "SELECT state, count(*) FROM execution WHERE rollout_id = ? GROUP BY state"
        return dict(self._ask(text, rollout_id))

    def running(self) -> dict[str | None, int]:
        """How many devices say that they run which digest."""
        found = self._ask("SELECT running, count(*) FROM device GROUP BY running")
        return {json.loads(text).get(MODEL): count for text, count in found}

    def counters(self) -> dict[str, float]:
        """The hub's figures as Prometheus would have them."""
        import httpx

        text = httpx.get(f"{self._address().url}/metrics", timeout=30, trust_env=False).text
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (li.rpartition(" ") for li in lines)}

    def _address(self) -> HubAddress:
        found = HubAddress.read(self.data)
        assert found is not None
        return found

    def _http(self) -> HubOverHttp:
        token = (self.data / "admin.token").read_text().strip()
        return HubOverHttp(self._address().url, token, timeout_s=120.0)

    def _ask(self, statement: str, *values: Any) -> Sequence[Any]:
        link = sqlite3.connect(f"file:{self.data / 'hub.sqlite3'}?mode=ro", uri=True, timeout=30)
        try:
            return link.execute(statement, values).fetchall()
        finally:
            link.close()

    def _wait(self, until: Callable[[], bool], what: str, deadline_s: float = START_S_MAX) -> None:
        deadline = time.monotonic() + deadline_s
        while not until():
            if time.monotonic() > deadline:
                logs = [f"{p.name}: {p.read_text()[-1500:]}" for p in self._folder.glob("*.log")]
                raise TimeoutError("\n".join([f"{what}: not within {deadline_s:g} s", *logs]))
            time.sleep(POLL_S)


def names_of(devices: int) -> list[str]:
    """As `argosy-sim device` names them."""
    return [f"{PREFIX}-{number:04d}" for number in range(1, devices + 1)]


def publish(hub: Hub, folder: Path, bundle_bytes_min: int) -> tuple[str, int]:
    """Register version 1 with a build of so many random bytes: digest, and its whole size."""
    digest, manifest = write_bundle(folder, model=MODEL, padding_bytes=bundle_bytes_min)
    files = [path for path in folder.rglob("*") if path.is_file()]
    for file in files:
        hub.blobs.put_file(file)
    new = NewVersion(
        manifest=manifest,
        parent=None,
        dataset="d",
        dataset_version=1,
        dataset_digest="d" * 64,
        weights=hub.blobs.put_file(folder / "model.onnx"),
        lineage={},
        metrics={},
    )
    with hub.database.transaction() as session:
        registry.register_version(session, ADMIN, new, (hub.trust.register_build,))
    return digest, sum(file.stat().st_size for file in files)


@contextmanager
def whole_fleet(folder: Path, devices: int, bundle_bytes_min: int) -> Iterator[WholeFleet]:
    """A fleet that is online; every process ends with it."""
    made = WholeFleet(folder, devices, bundle_bytes_min)
    with ExitStack() as stack:
        made.start(stack)
        yield made
