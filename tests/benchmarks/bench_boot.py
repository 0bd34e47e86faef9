"""How long a device is blind after a kill: process start to the first answer, without a hub.

The agent was killed in probation: it has to turn back to the incumbent, read every byte of it,
load it, open the camera and answer. The broker is not there.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from edge_agent.store import Store
from edge_agent.update.states import Committed, UpdateRecord, committed_name, record_name
from protocol.messages import SlotDesired
from protocol.states import ExecutionState
from tests.benchmarks.bench_process import DEADLINE_S, POLL_S, write_video
from tests.benchmarks.builds import Build, onnx_fp32
from tests.benchmarks.harness import Bench, Row, row, spread
from tests.benchmarks.seeing_sides import SLOT
from tests.benchmarks.whole_agent import Camera, WholeAgent
from tests.ports import free_port

REPETITIONS = 9
CANDIDATE = "c" * 64


def boot_to_serving_s() -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build, video = onnx_fp32(folder / "bundle"), folder / "photographs.mp4"
        write_video(video)
        took_s = [
            _start(folder / f"agent-{number}", build, video) for number in range(1 + REPETITIONS)
        ]
    found = spread(took_s[1:])
    return row(
        "update.boot_to_serving_s",
        found["median"],
        "<= 2.5",
        unit="s",
        spread=found,
        note=(
            "killed in probation, no broker: process start to the incumbent's first answer; median "
            f"of {REPETITIONS} ({found['min']:.2f} to {found['max']:.2f})"
        ),
    )


def _start(folder: Path, build: Build, video: Path) -> float:
    cameras = [Camera("cam", str(video), SLOT, loop=True)]
    agent = WholeAgent(folder, device="bench", port=free_port(), cameras=cameras)
    agent.commit(SLOT, build.folder, build.digest)
    _killed_in_probation(folder / "data", build)
    began_s = time.monotonic()
    agent.start()
    try:
        while not agent.results():
            if agent.process is None or agent.process.poll() is not None:
                raise RuntimeError(f"the agent has ended: {agent.log()[-2000:]}")
            if time.monotonic() > began_s + DEADLINE_S:
                raise RuntimeError(f"the agent answered nothing in {DEADLINE_S:g} s")
            time.sleep(POLL_S)
        took_s = time.monotonic() - began_s
    finally:
        agent.stop()
    if "ROLLED_BACK" not in agent.log():
        raise RuntimeError("the agent did not go back")
    return took_s


def _killed_in_probation(data: Path, build: Build) -> None:
    """What the disk says after a kill in probation: a candidate that was exchanged."""
    store = Store(data)
    store.open()
    wanted = SlotDesired(bundle_digest=CANDIDATE, manifest_bytes=1000, model="m", version=2)
    store.save(committed_name(SLOT), Committed(digest=build.digest))
    store.save(
        record_name(SLOT),
        UpdateRecord(
            slot=SLOT,
            desired=wanted,
            state=ExecutionState.PROBATION,
            previous_digest=build.digest,
            transition=8,
        ),
    )
    shutil.copytree(build.folder, store.bundles / CANDIDATE)
    store.close()


BENCHES: dict[str, Bench] = {"update.boot_to_serving_s": boot_to_serving_s}
