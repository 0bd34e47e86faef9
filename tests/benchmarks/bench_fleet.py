"""How fast a whole fleet takes a new build: every part real, and a process of its own.

10,000 virtual devices, each with its own connection to one Mosquitto, driven from one poll;
`argosy serve` beside them. A build of 1 MB goes out in three waves, of 1 %, up to 10 % and the
rest; every device downloads and verifies every chunk of it.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from tests.benchmarks.harness import Row, Unavailable, row
from tests.integration.brokers import RunningBroker
from tests.integration.rollouts.whole_fleet import Processes, WholeFleet, whole_fleet

DEVICES = 10_000
BUNDLE_BYTES_MIN = 1_000_000
WAVES = [{"percent": 1}, {"percent": 10}, {"percent": 100}]
IN_FLIGHT_MAX = 2000
PROBATION_S = 1.0
FILES_BESIDE = 500
DEADLINE_S = 300.0
"""Then the devices count that have the build; nobody waits longer for a busy machine."""
MIB = 1024 * 1024


def fleet_per_minute() -> Row:
    """Devices a minute from the order to the rollout's end."""
    _check_machine()
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as folder:
        began = time.monotonic()
        with whole_fleet(Path(folder), DEVICES, BUNDLE_BYTES_MIN) as fleet:
            online_s = time.monotonic() - began
            return _measure(fleet, online_s)


def _measure(fleet: WholeFleet, online_s: float) -> Row:
    before = fleet.counters()
    with BrokerFigures(fleet.broker) as at_broker:
        processes = Watched(fleet.processes)
        began = time.monotonic()
        rollout_id = fleet.roll_out(
            waves=WAVES, in_flight_max=IN_FLIGHT_MAX, probation_s=PROBATION_S
        )
        late = _wait(fleet, rollout_id, processes)
        took_s = time.monotonic() - began
        messages = at_broker.since_begin()
    hub = {name: value - before.get(name, 0.0) for name, value in fleet.counters().items()}
    executions, running = fleet.executions(rollout_id), fleet.running()
    succeeded = executions.get("SUCCEEDED", 0)
    if not late and (succeeded, running) != (DEVICES, {fleet.digest: DEVICES}):
        raise RuntimeError(f"not everybody has the build: {executions}, {running}")
    published = hub['argosy_published_bytes_total{kind="blob_chunk"}']
    return row(
        "rollout.fleet_10k_per_minute",
        succeeded / took_s * 60,
        ">= 3000",
        unit="devices/min",
        note="virtual devices share a process and a poll, and their disks are its memory",
        devices=DEVICES,
        succeeded=succeeded,
        ended_by_the_bench=late,
        rollout_s=took_s,
        online_after_s=online_s,
        waves=[wave["percent"] for wave in WAVES],
        in_flight_max=IN_FLIGHT_MAX,
        bundle_bytes=fleet.bundle_bytes,
        hub_copies=published / fleet.bundle_bytes,
        messages_to_broker_per_s=messages["messages/received"] / took_s,
        messages_from_broker_per_s=messages["messages/sent"] / took_s,
        bytes_to_broker=messages["bytes/received"],
        bytes_from_broker=messages["bytes/sent"],
        stored_by_hub=hub['argosy_ingest_total{outcome="stored"}'],
        sent_twice=hub.get('argosy_ingest_total{outcome="duplicates"}', 0.0),
        cpu_s=processes.cpu_s(),
        memory_max_mib=processes.memory_max_mib,
        broker="mosquitto",
    )


def _wait(fleet: WholeFleet, rollout_id: str, processes: Watched) -> bool:
    """Whether the rollout was not finished when the bench's time was over."""
    try:
        fleet.wait_finished(rollout_id, DEADLINE_S, processes.look)
    except TimeoutError:
        return True
    return False


class Watched:
    """CPU time and largest memory of the processes, from now on."""

    def __init__(self, processes: Processes) -> None:
        self._processes = {
            name: psutil.Process(pid) for name, pid in vars(processes).items() if pid
        }
        self._began_s = self._cpu_s()
        self.memory_max_mib = dict.fromkeys(self._processes, 0.0)

    def look(self) -> None:
        for name, process in self._processes.items():
            mib = process.memory_info().rss / MIB
            self.memory_max_mib[name] = max(self.memory_max_mib[name], mib)

    def cpu_s(self) -> dict[str, float]:
        return {name: spent - self._began_s[name] for name, spent in self._cpu_s().items()}

    def _cpu_s(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: spent.user + spent.system for name, spent in times.items()}


@dataclass
class BrokerFigures:
    """What Mosquitto counts of itself: messages and payload bytes, in and out."""

    broker: RunningBroker
    _seen: dict[str, float] = field(default_factory=dict)
    _first: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> BrokerFigures:
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = self._take
        self._client.connect(self.broker.host, self.broker.port)
        self._client.subscribe("$SYS/broker/publish/#")
        self._client.loop_start()
        self._first = self._settled()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def since_begin(self) -> dict[str, float]:
        """By `messages/received`, `messages/sent`, `bytes/received`, `bytes/sent`."""
        now = self._settled()
        return {name: now[name] - self._first[name] for name in now}

    def _settled(self) -> dict[str, float]:
        """The figures once Mosquitto, which tells them every second, has told them anew."""
        time.sleep(2.5)
        names = [f"{what}/{way}" for what in ("messages", "bytes") for way in ("received", "sent")]
        return {name: self._seen.get(name, 0.0) for name in names}

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        name = message.topic.removeprefix("$SYS/broker/publish/")
        self._seen[name] = float(bytes(message.payload))


def _check_machine() -> None:
    """Raises Unavailable where the broker or open files are lacking."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        raise Unavailable("the broker Mosquitto is not installed (apt-get install mosquitto)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = DEVICES + FILES_BESIDE
    if hard not in (resource.RLIM_INFINITY,) and hard < needed:
        raise Unavailable(f"{needed} open files are needed and {hard} are allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < needed:
        # The processes that are started have this one's limit: Mosquitto asks for no more.
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


BENCHES = {"rollout.fleet_10k_per_minute": fleet_per_minute}
