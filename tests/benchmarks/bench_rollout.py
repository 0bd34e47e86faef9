"""What a look of the rollouts' engine costs, with a large fleet in one rollout.

The database is a real one in a file; devices speak through the hub's own handlers, and the
engine is the hub's. A hundredth of the devices changes between two looks: most make a step, some
succeed, in whose place others are started.
"""

from __future__ import annotations

import gc
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import insert

from cloud.database import Database
from cloud.fleet import inbound
from cloud.fleet.models import Device
from cloud.inbound import Received
from cloud.lots import lots
from cloud.registry.models import DetectorModel
from cloud.rollouts.models import Execution, Rollout
from cloud.rollouts.request.spec import RolloutSpec
from cloud.rollouts.running import floors, receiving
from cloud.rollouts.running.engine import Engine
from protocol.messages import (
    CameraReported,
    Desired,
    ExecutionReport,
    Reported,
    SlotDesired,
    SlotReported,
    encode,
)
from protocol.states import CameraState, ExecutionState
from protocol.topics import Kind, Topic
from tests.benchmarks.harness import Bench, Row, in_turns, median_ratio, row, spread
from tests.fixtures.registered import add_version
from tests.simulation.rollouts.builds import ABLE, IDENTITY

SMALL, LARGE = 10_000, 100_000
CHANGED_SHARE = 0.01
SUCCEEDED_SHARE = 0.3
IN_FLIGHT_SHARE = 0.3
TURNS = 9
STARTED = 5000
MODEL, ROLLOUT = "caps", "f" * 32
OLD, NEW = "1" * 64, "2" * 64
S = ExecutionState
STEPS = (S.DOWNLOADING, S.DOWNLOADED, S.VERIFIED, S.PROVING, S.PREPARED, S.SWAPPING)

T = TypeVar("T")


@dataclass
class Fleet:
    """A database with `count` devices in one rollout: a tenth has the build, as many as may be
    are under way, the rest waits."""

    database: Database
    engine: Engine
    count: int
    now: float
    turns: int = 0

    def tick(self) -> float:
        """Seconds of one look."""
        began = time.perf_counter()
        self.engine.tick(self.now)
        return time.perf_counter() - began

    def change(self) -> None:
        """Let a hundredth of the devices speak; those who succeeded report what they run."""
        self.now += 1.0
        self.turns += 1
        ids = self._under_way(round(self.count * CHANGED_SHARE))
        succeeded = round(len(ids) * SUCCEEDED_SHARE)
        for some in lots(enumerate(ids)):
            with self.database.transaction() as session:
                batch = []
                for number, device_id in some:
                    done = number < succeeded
                    state = S.SUCCEEDED if done else STEPS[self.turns % len(STEPS)]
                    report = ExecutionReport(
                        rollout_id=ROLLOUT, attempt=1, slot=MODEL, bundle_digest=NEW, state=state
                    )
                    receiving.on_execution(session, device_id, report, self.now, now=self.now)
                    message = reported(device_id, NEW if done else OLD, self.now + 0.1)
                    topic = Topic(Kind.REPORTED, device_id=device_id)
                    batch.append(Received(topic, encode(message), message, self.now))
                inbound.store_reports(session, batch)

    def turn(self) -> float:
        self.change()
        return self.tick()

    def _under_way(self, count: int) -> list[str]:
        with self.database.reading() as session:
            rows = session.connection().exec_driver_sql(
                "SELECT device_id FROM execution WHERE started_at IS NOT NULL AND ended_at IS NULL "
                "ORDER BY step_at, device_id LIMIT ?",
                (count,),
            )
            return [device_id for (device_id,) in rows]


def reported(device_id: str, running: str, at: float) -> Reported:
    return Reported(
        device_id=device_id,
        boot_id="b" * 32,
        session_epoch=1,
        agent_version="0.1.0",
        desired_generation=1,
        slots={MODEL: SlotReported(running_digest=running, model=MODEL, version=1)},
        cameras={
            f"line-{n}": CameraReported(
                state=CameraState.STREAMING, slot=MODEL, width=1280, height=720, fps=25.0
            )
            for n in range(2)
        },
        capabilities=ABLE,
        counters=dict.fromkeys(("frames", "dropped", "sent", "evicted"), 12345),
        reported_at=at,
    )


def desired(device_id: str, digest: str, rollout_id: str | None) -> str:
    slot = SlotDesired(
        bundle_digest=digest,
        manifest_bytes=500,
        model=MODEL,
        version=1 if digest == OLD else 2,
        rollout_id=rollout_id,
        attempt=1,
    )
    return encode(Desired(device_id=device_id, generation=1, slots={MODEL: slot})).decode()


def fleet_of(folder: Path, count: int, *, begun: bool = True) -> Fleet:
    """Build the database; its engine has not looked yet. Not `begun`: all devices wait, and
    nothing limits how many are started."""
    database = Database(f"sqlite:///{folder / f'hub-{count}.sqlite3'}")
    database.migrate()
    now = 1_000_000.0
    with database.transaction() as session:
        _add_builds(session)
        session.add(_rollout(count, now, begun))
        session.flush()
    ids = [f"dev-{number:06d}" for number in range(count)]
    for some in lots(enumerate(ids), 5000):
        stages = [(device_id, _stage(n, count) if begun else S.QUEUED) for n, device_id in some]
        with database.transaction() as session:
            connection = session.connection()
            connection.execute(insert(Device), [_device(*one) for one in stages])
            connection.execute(insert(Execution), [_execution(*one, now) for one in stages])
    return Fleet(database, Engine(database, 1.0), count, now)


def _stage(number: int, count: int) -> S:
    if number < count // 10:
        return S.SUCCEEDED
    under_way = number < count // 10 + round(count * IN_FLIGHT_SHARE)
    return STEPS[number % 4] if under_way else S.QUEUED


def _device(device_id: str, stage: S) -> dict[str, Any]:
    running = NEW if stage is S.SUCCEEDED else OLD
    wanted = (OLD, None) if stage is S.QUEUED else (NEW, ROLLOUT)
    return {
        "id": device_id,
        "site": None,
        "labels": {"line": f"line-{device_id[-2:]}"},
        "models": [MODEL],
        "created_at": 0.0,
        "presence": "online",
        "boot_id": "b" * 32,
        "boots": 1,
        "session_epoch": 1,
        "last_seen": 1.0,
        "reported": encode(reported(device_id, running, 1.0)).decode(),
        "running": {MODEL: running},
        "desired": desired(device_id, *wanted),
        "desired_generation": 1,
    }


def _execution(device_id: str, stage: S, now: float) -> dict[str, Any]:
    begun, done = stage is not S.QUEUED, stage is S.SUCCEEDED
    row = Execution(
        rollout_id=ROLLOUT,
        device_id=device_id,
        attempt=1,
        wave=0 if done else 1,
        state=stage.value,
        digest=NEW if begun else None,
        started_at=now - 60 if begun else None,
        step_at=now - 30,
        ended_at=now - 30 if done else None,
        device_ended_at=0.5 if done else None,
    )
    return row.model_dump()


def _rollout(count: int, now: float, begun: bool) -> Rollout:
    spec = RolloutSpec.model_validate(
        {
            "waves": [{"percent": 10}, {"percent": 100}],
            "in_flight_max": round(count * IN_FLIGHT_SHARE) if begun else None,
            "step_timeout_s": 86_400,
            "total_timeout_s": 86_400,
        }
    )
    return Rollout(
        id=ROLLOUT,
        name="bench",
        model=MODEL,
        version=2,
        builds=[{"digest": NEW, "manifest_bytes": 500, "identity": IDENTITY.model_dump()}],
        spec=spec.model_dump(mode="json"),
        state="RUNNING",
        wave=1,
        created_at=now - 100,
        created_by="ada",
    )


def _add_builds(session: Any) -> None:
    session.add(DetectorModel(name=MODEL, class_names=["cap"], created_at=0, created_by="ada"))
    session.flush()
    for number, digest in ((1, OLD), (2, NEW)):
        add_version(session, MODEL, number, digest, IDENTITY)


def resident_mib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _alone(measure: Callable[[], T]) -> T:
    """Measure in a process of its own, whose memory holds nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure).result()


def measure_ticks(count: int) -> dict[str, Any]:
    """Seconds of looks: the first one, with nothing changed, with a hundredth changed."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), count)
        gc.collect()
        before = resident_mib()
        cold = fleet.tick()
        board_mib = resident_mib() - before
        for _ in range(count // floors.DEVICES_A_LOOK):  # which it does every ten minutes
            fleet.tick()
        rest = [fleet.tick() for _ in range(TURNS)]
        changed = [fleet.turn() for _ in range(TURNS)]
        fleet.database.close()
    return {
        "cold_s": cold,
        "nothing_changed_s": spread(rest),
        "changed_s": spread(changed),
        "board_mib": board_mib,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_starts() -> dict[str, Any]:
    """Milliseconds for each device that is started, of many at once, without the broker."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = fleet_of(Path(folder), STARTED, begun=False)
        seconds = fleet.tick()
        fleet.database.close()
    return {"started": STARTED, "start_ms": seconds / STARTED * 1000}


def measure_scaling() -> dict[str, Any]:
    """Seconds of a look with a hundredth changed, of both sizes in turns."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (fleet_of(Path(folder), count) for count in (SMALL, LARGE))
        for fleet in (small, large):
            fleet.tick()
            fleet.turn()
        smalls, larges = in_turns(small.turn, large.turn, TURNS)
        for fleet in (small, large):
            fleet.database.close()
    return {"small_s": smalls, "large_s": larges}


@cache
def _large() -> dict[str, Any]:
    return _alone(partial(measure_ticks, LARGE))


def tick_100k() -> Row:
    found = _large()
    return row(
        "rollout.tick_100k_s",
        found["changed_s"]["median"],
        "<= 1.0",
        unit="s",
        devices=LARGE,
        changed=round(LARGE * CHANGED_SHARE),
        **found,
        **_alone(measure_starts),
        note="the whole look: reading what changed, planning all devices, starting those for whom "
        "there is room again; cold_s: the first one of an engine, which reads every device; "
        "start_ms: of each of many devices that are started at once, with the commits",
    )


def tick_scaling() -> Row:
    found = _alone(measure_scaling)
    per_small = [seconds / SMALL for seconds in found["small_s"]]
    per_large = [seconds / LARGE for seconds in found["large_s"]]
    return row(
        "rollout.tick_scaling",
        median_ratio(per_large, per_small),
        "<= 1.3",
        small_s=spread(found["small_s"]),
        large_s=spread(found["large_s"]),
        note=f"cost per device of a look at {LARGE} devices over that at {SMALL}, in turns",
    )


def memory_100k() -> Row:
    found = _large()
    return row(
        "rollout.memory_100k_mib",
        found["peak_mib"],
        "<= 1024",
        unit="MiB",
        board_mib=found["board_mib"],
        note="the most that the process ever held, with everything that the hub's code loads and "
        "the making of the fleet; board_mib: what the first look added",
    )


BENCHES: dict[str, Bench] = {
    "rollout.tick_100k_s": tick_100k,
    "rollout.tick_scaling": tick_scaling,
    "rollout.memory_100k_mib": memory_100k,
}
