"""Runs one case of the fault table with a real agent, and says everything that went wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.store import Store
from edge_agent.update.states import Committed, UpdateRecord, committed_name, record_name
from protocol.bundles import Manifest
from protocol.states import EXECUTION_TABLE, TERMINAL_EXECUTION_STATES, ExecutionState
from tests.integration.brokers import RunningBroker, mosquitto
from tests.integration.edge_agent.device import DEVICE_ID, SLOT, Device
from tests.integration.edge_agent.fake_hub import FakeHub, wait_for
from tests.integration.edge_agent.faults import (
    Case,
    Fault,
    final_state,
    serves_after_kill,
    serves_at_end,
)

S = ExecutionState
SERVES_WITHIN_S = 3.0
DEADLINE_S = 60.0
AWAY_S = 0.6
DISK_MIB = 12
ATTEMPT = 2
LIMITS = """\
retry_first_s = 0.05
retry_cap_s = 0.2
probation_frames_min = 3
probation_rate_share_min = 0.0
probation_latency_ratio_max = 1000.0
bundles_kept_max = 0
disk_free_bytes_min = 0
"""
SHADOW = {
    "share": 1.0,
    "frames_min": 3,
    "detections_min": 1,
    "agreement_min": 0.0,
    "class_flips_max": 1.0,
    "confidence_shift_max": 1.0,
    "latency_ratio_max": 1000.0,
}
WINDOW = {"cron": "* * * * *", "duration_s": 3600.0, "time_zone": "Europe/Berlin"}


@dataclass(frozen=True)
class Bundles:
    """What all cases share: two bundles, and a device that has committed the first.

    Attributes:
        device: the folder of that device, stopped; every case takes a copy.
        stored: what the hub knows of its streams.
    """

    folders: dict[str, Path]
    incumbent: str
    candidate: str
    device: Path
    stored: dict[tuple[str, str, int], Any]


@dataclass
class Finding:
    """What came of a case; nothing is wrong where `problems` is empty."""

    name: str
    kills: int = 0
    final: str = ""
    expected: str = ""
    serving_s: list[float] = field(default_factory=list)
    serving_wall_s: list[float] = field(default_factory=list)
    unproven: int = 0
    stuck: int = 0
    lost: int = 0
    twice: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Run:
    """One device under one fault."""

    def __init__(self, case: Case, bundles: Bundles, folder: Path, broker: RunningBroker) -> None:
        self.case, self.bundles, self.broker = case, bundles, broker
        self.found = Finding(case.name, expected=final_state(case).value)
        self.device = Device(folder / "device", broker, limits=LIMITS)
        self.hub = FakeHub(broker, DEVICE_ID)
        self.manifests = {d: self.hub.offer(path, d) for d, path in bundles.folders.items()}
        if not case.alone:
            self.hub.stored.update(bundles.stored)
            self.hub.generation = 1
        builds = case.state is S.BUILDING
        self.module = "tests.integration.edge_agent.building_agent" if builds else "edge_agent"

    # ---- the story of a case -----------------------------------------------------------

    def play(self) -> None:
        """The fault, a restart without a hub, and the end of the attempt."""
        case, device = self.case, self.device
        self._furnish()
        device.start(faults=case.plan(), module=self.module)
        if not case.alone:
            self._serves("incumbent")
        self._desire()
        if case.kills:
            wait_for(lambda: device.ended is not None, "the kill", DEADLINE_S)
            self._expect(device.ended == -9, f"ended with {device.ended}, not by SIGKILL")
            self.found.kills += 1
            self._restart(serves_after_kill(case))
            self._await_final()
        else:
            wait_for(lambda: device.met(case.point), "the fault", DEADLINE_S)
            from_outside = OUTSIDE.get(case.fault)
            if from_outside is not None:
                from_outside(self)
            self._await_final()
            device.kill()
            self.found.kills += 1
            self._restart(serves_at_end(case))
            self._await_report()
        self._await_whole()
        self._expect(device.stop() == 0, "did not stop as asked")
        self._check()

    def _furnish(self) -> None:
        if self.case.fault is Fault.FULL_DISK:
            mount(self.device.data)
        if not self.case.alone:
            shutil.copytree(self.bundles.device, self.device.data, dirs_exist_ok=True)

    def _desire(self) -> None:
        policies: dict[str, Any] = {}
        if self.case.state is S.SHADOWING:
            policies["shadow"] = SHADOW
        if self.case.state is S.WAITING_WINDOW:
            policies["window"] = WINDOW
        digest = self.bundles.candidate
        manifest: Manifest = self.manifests[digest]
        self.hub.desire(SLOT, digest, manifest, attempt=ATTEMPT, policies=policies)

    def _restart(self, serves: str | None) -> None:
        """Start again where nobody answers; who serves then; and let the hub come back."""
        self.broker.stop()
        self.device.start(faults=self.case.restart_plan(), module=self.module)
        if serves is not None:
            self._serves(serves)
        self.broker.start()
        self.hub.reconnect()

    def _serves(self, who: str) -> None:
        """The first answer after a start comes in time, and is that of `who`."""
        expected = getattr(self.bundles, who)
        started, seen = time.monotonic(), len(self.device.detections())
        wait_for(lambda: len(self.device.detections()) > seen, "an answer", DEADLINE_S)
        wall_s = time.monotonic() - started
        # Several agents share the cores with whatever else runs: what counts is what the agent
        # would have taken alone.
        self.found.serving_s.append(round(max(0.0, wall_s - self.device.held_back_s()), 3))
        self.found.serving_wall_s.append(round(wall_s, 3))
        digest = self.device.detections()[seen]["bundle_digest"]
        self._expect(digest == expected, f"{digest[:12]} served after a start, not the {who}")

    def _await_final(self) -> None:
        try:
            wait_for(self._ended, "the end of the attempt", DEADLINE_S)
        except AssertionError:
            self.found.stuck = 1
            raise

    def _ended(self) -> bool:
        path = self.hub.passage(ATTEMPT)
        return bool(path) and path[-1].state in TERMINAL_EXECUTION_STATES

    def _await_report(self) -> None:
        """The agent that was started last has told what it had to tell."""
        boots = {r.boot_id for r in self.hub.reports[:-1]} if self.hub.reports else set()
        wait_for(
            lambda: self.hub.reports and self.hub.reports[-1].boot_id not in boots,
            "a report after the restart",
            DEADLINE_S,
        )

    def _await_whole(self) -> None:
        """What reached the broker before the hub had subscribed again is sent once more."""
        wait_for(lambda: not self.hub.missing("events"), "what was not acknowledged", DEADLINE_S)

    # ---- what must be true afterwards --------------------------------------------------

    @property
    def expected(self) -> ExecutionState:
        return final_state(self.case)

    def _check(self) -> None:
        self._check_path()
        self._check_served()
        self._check_disk()

    def _check_path(self) -> None:
        """Each transition was told exactly once, in an order that the table allows."""
        found, told = self.found, self.hub.passage(ATTEMPT)
        states = [report.state for report in told]
        found.final = states[-1].value if states else ""
        self._expect(states[-1:] == [self.expected], f"ended {found.final}")
        found.twice = sum(n - 1 for n in Counter(states).values())
        self._expect(not found.twice, f"told twice: {[s.value for s in states]}")
        record = self._load(record_name(SLOT), UpdateRecord)
        passed = [] if record is None else [p.state for p in record.passages]
        found.lost = len(set(passed) - set(states))
        self._expect(states == passed, f"told {states}, and the record says {passed}")
        legal = {(before, after) for (before, _event), after in EXECUTION_TABLE.items()}
        steps = zip([None, *states], states, strict=False)
        illegal = [s for s in steps if s not in {(None, S.QUEUED), *legal}]
        self._expect(not illegal, f"no such transitions: {illegal}")
        missing = self.hub.missing("events")
        self._expect(not missing, f"events lost: {missing}")

    def _check_served(self) -> None:
        """Nothing but proven bundles served, and the candidate not before it was prepared."""
        events = [e for e in self.hub.of("events") if e.execution]
        prepared = [
            e.at
            for e in events
            if (e.execution.attempt, e.execution.state) == (ATTEMPT, S.PREPARED)
        ]
        proven = {self.bundles.candidate} if prepared else set()
        proven |= set() if self.case.alone else {self.bundles.incumbent}
        clocks = self.case.fault in (Fault.AHEAD, Fault.BACK)
        for seen in self.device.detections():
            early = seen["bundle_digest"] == self.bundles.candidate and not clocks
            early = early and bool(prepared) and seen["result_at"] < prepared[0]
            if seen["bundle_digest"] not in proven or early:
                self.found.unproven += 1
        self._expect(not self.found.unproven, f"{self.found.unproven} answers of the unproven")
        for seconds in self.found.serving_s:
            self._expect(seconds <= SERVES_WITHIN_S, f"served only {seconds} s after a start")

    def _check_disk(self) -> None:
        """Nothing is left on the disk or among the processes that nobody needs."""
        data = self.device.data
        left = [*Store(data).leftovers(), *(data / "partial").glob("*/*")]
        self._expect(not left, f"left behind: {left}")
        committed = self._load(committed_name(SLOT), Committed)
        needed = set() if committed is None else {committed.digest, committed.previous_digest}
        held = {path.name for path in (data / "bundles").iterdir()}
        self._expect(held <= needed, f"bundles that nobody needs: {sorted(held - needed)}")
        serves = serves_at_end(self.case)
        digest = None if committed is None else committed.digest
        expected = None if serves is None else getattr(self.bundles, serves)
        self._expect(digest == expected, f"{digest} is committed")
        wait_for(lambda: not self.device.processes(), "the end of all processes", 5.0)

    def _load(self, name: str, model: Any) -> Any:
        return Store(self.device.data).load(name, model)

    def _expect(self, true: bool, problem: str) -> None:
        if not true:
            self.found.problems.append(problem)


# ---- faults from outside ---------------------------------------------------------------


def _network_gone(run: Run) -> None:
    run.broker.stop()
    time.sleep(AWAY_S)
    run.broker.start()
    run.hub.reconnect()


def _broker_restarted(run: Run) -> None:
    run.broker.stop()
    run.broker.start()
    run.hub.reconnect()


def _hub_silent(run: Run) -> None:
    run.hub.silent = True
    time.sleep(AWAY_S)
    run.hub.silent = False
    run.hub.publish_again()


def _disk_full(run: Run) -> None:
    filler = run.device.data / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    time.sleep(AWAY_S)
    filler.unlink()


OUTSIDE: dict[Fault, Callable[[Run], None]] = {
    Fault.NETWORK: _network_gone,
    Fault.BROKER: _broker_restarted,
    Fault.HUB: _hub_silent,
    Fault.FULL_DISK: _disk_full,
}


def can_mount() -> bool:
    """Whether this process may make a small disk of its own."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def mount(folder: Path) -> None:
    """A disk of DISK_MIB at `folder`. Raises subprocess.CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)


@contextlib.contextmanager
def _unmounted(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        if os.path.ismount(folder):
            subprocess.run(["umount", "-l", str(folder)], check=False)


# ---- cases and what they share ---------------------------------------------------------


def run_case(case: Case, bundles: Bundles, folder: Path) -> Finding:
    """Play one case in `folder`, and clear it away where nothing was wrong."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    with _unmounted(folder / "device" / "data"), mosquitto(folder) as broker:
        run = Run(case, bundles, folder, broker)
        try:
            run.play()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            run.found.problems.append(f"{type(error).__name__}: {error}")
        finally:
            run.hub.close()
            if run.device.process is not None and run.device.ended is None:
                run.device.kill()
        if run.found.problems:
            states = [report.state.value for report in run.hub.passage(ATTEMPT)]
            run.found.problems += [f"told: {states}", run.device.log()[-6000:]]
    run.found.seconds = round(time.monotonic() - began, 2)
    if not run.found.problems:
        shutil.rmtree(folder, ignore_errors=True)
    return run.found
