"""Memory and start of the whole agent against the script that a user would write.

Both watch the same 1280 x 720 video at 640 px with the same ONNX file. The agent is
`argosy-agent run` with its link to a Mosquitto and statistics, harvest and JSON lines on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.benchmarks.builds import Build, onnx_fp32, weights
from tests.benchmarks.harness import (
    Bench,
    Row,
    Unavailable,
    bootstrap_interval,
    in_turns,
    median_ratio,
    row,
    spread,
)
from tests.benchmarks.seeing_sides import FRAME_SIZE, SIZE, SLOT, photographs
from tests.benchmarks.whole_agent import Camera, WholeAgent, rss_bytes
from tests.integration.brokers import mosquitto

REPETITIONS = 7
FRAMES = 120
VIDEO_FRAMES = 128
DEADLINE_S = 120.0
POLL_S = 0.001

USERS_SCRIPT = """\
from ultralytics import YOLO

model = YOLO({weights!r}, task="detect")
results = model.predict({video!r}, stream=True, imgsz={size}, device="cpu", verbose=False)
for number, result in enumerate(results, start=1):
    if number == 1:
        print("FIRST", len(result.boxes), flush=True)
    if number == {frames}:
        break
print("SEEN", flush=True)
input()
"""


@dataclass(frozen=True)
class Started:
    """Process start to first detection, and resident memory after FRAMES frames."""

    start_s: float
    rss_mib: float


@lru_cache(maxsize=1)
def measure() -> tuple[list[Started], list[Started]]:
    """Agent and Ultralytics in turns, once for both rows; a first pair warms the caches."""
    if shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        raise Unavailable("needs the broker Mosquitto (apt-get install mosquitto)")
    ours: list[Started] = []
    theirs: list[Started] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build, video = onnx_fp32(folder / "bundle"), folder / "photographs.mp4"
        write_video(video)
        with mosquitto(folder) as broker:

            def agent_run() -> float:
                ours.append(_agent(folder / f"agent-{len(ours)}", build, video, broker.port))
                return ours[-1].start_s

            def users_run() -> float:
                theirs.append(_users_script(video))
                return theirs[-1].start_s

            in_turns(agent_run, users_run, 1 + REPETITIONS)
    return ours[1:], theirs[1:]


def write_video(path: Path) -> None:
    """The photographs as 1280 x 720 frames of an MPEG-4 file."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, FRAME_SIZE)
    for picture in photographs(VIDEO_FRAMES):
        writer.write(picture)
    writer.release()


def _agent(folder: Path, build: Build, video: Path, port: int) -> Started:
    agent = WholeAgent(
        folder, device="bench", port=port, cameras=[Camera("cam", str(video), SLOT, loop=True)]
    )
    agent.commit(SLOT, build.folder, build.digest)
    began_s = time.monotonic()
    agent.start()
    try:
        while not _has_detection(agent.lines):
            _wait(agent.process, began_s)
        start_s = time.monotonic() - began_s
        while agent.results() < FRAMES:
            _wait(agent.process, began_s)
        return Started(start_s, agent.rss_bytes() / 2**20)
    finally:
        agent.stop()


def _has_detection(lines: Path) -> bool:
    try:
        return b'"confidence":' in lines.read_bytes()
    except FileNotFoundError:
        return False


def _wait(process: subprocess.Popen[bytes] | None, began_s: float) -> None:
    if process is None or process.poll() is not None:
        raise RuntimeError("the agent has ended")
    if time.monotonic() > began_s + DEADLINE_S:
        raise RuntimeError(f"the agent saw nothing in {DEADLINE_S:g} s")
    time.sleep(POLL_S)


def _users_script(video: Path) -> Started:
    script = USERS_SCRIPT.format(weights=str(weights()), video=str(video), size=SIZE, frames=FRAMES)
    began_s = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "YOLO_OFFLINE": "true"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        _read_until(process.stdout, "FIRST")
        start_s = time.monotonic() - began_s
        _read_until(process.stdout, "SEEN")
        found = Started(start_s, rss_bytes(process.pid) / 2**20)
        process.communicate("\n")
    return found


def _read_until(lines: object, word: str) -> None:
    for line in lines:  # type: ignore[attr-defined]
        if line.startswith(word):
            return
    raise RuntimeError(f"the script ended before it said {word}")


def start_vs_ultralytics() -> Row:
    ours, theirs = measure()
    return _row(
        "edge.start_vs_ultralytics",
        [s.start_s for s in ours],
        [s.start_s for s in theirs],
        "<= 0.25",
        unit_name="s",
        note="process start to first detection, caches warm",
    )


def rss_vs_ultralytics() -> Row:
    ours, theirs = measure()
    return _row(
        "edge.rss_vs_ultralytics",
        [s.rss_mib for s in ours],
        [s.rss_mib for s in theirs],
        "<= 0.33",
        unit_name="mib",
        note=f"resident memory with children after {FRAMES} frames",
    )


def _row(
    name: str,
    ours: list[float],
    theirs: list[float],
    goal: str,
    *,
    unit_name: str,
    note: str,
) -> Row:
    figures: dict[str, Any] = {
        f"agent_{unit_name}": spread(ours),
        f"ultralytics_{unit_name}": spread(theirs),
    }
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return row(
        name,
        median_ratio(ours, theirs),
        goal,
        note=note,
        interval_95=bootstrap_interval(ratios),
        ultralytics_script=USERS_SCRIPT,
        **figures,
    )


BENCHES: dict[str, Bench] = {
    "edge.start_vs_ultralytics": start_vs_ultralytics,
    "edge.rss_vs_ultralytics": rss_vs_ultralytics,
}
