"""The agent's speed against the bare runtime and against Ultralytics, in turns, on one machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.benchmarks.builds import CANDIDATES, Build, map50_95, onnx_fp32, weights
from tests.benchmarks.harness import Bench, Row, row, spread
from tests.benchmarks.seeing_sides import agent, bare_runtime, ultralytics
from tests.benchmarks.sides import Comparison, compare, side

TURNS = 80
TURNS_TO_CHOOSE = 12
FRAMES_PER_TURN = 20
CAMERAS = 4
REFERENCE, MAP_LOSS_MAX = "onnxruntime-fp32", 0.01
WEIGHTS = "yolo26n, reconstructed, 640 px, fp32; 1280 x 720 frames in memory, decoded on no side"


def fps_vs_raw_runtime() -> Row:
    """Agent ÷ bare ONNX Runtime: same model, same threads, same options."""
    return _against_bare_runtime("edge.fps_vs_raw_runtime", cameras=1)


def four_cameras_vs_raw() -> Row:
    """Four cameras in one slot, their frames together ÷ bare ONNX Runtime."""
    return _against_bare_runtime("edge.four_cameras_vs_raw", cameras=CAMERAS)


def _against_bare_runtime(name: str, cameras: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        build, threads = onnx_fp32(Path(folder)), _threads()
        with (
            side(agent, build.folder, build.digest, threads, cameras) as ours,
            side(bare_runtime, weights(), threads) as theirs,
        ):
            found = compare(ours, theirs, TURNS, FRAMES_PER_TURN)
        with side(bare_runtime, weights(), threads, False) as default:
            defaults = [default.fps(FRAMES_PER_TURN) for _ in range(TURNS_TO_CHOOSE)]
    return row(
        name,
        found.median,
        ">= 0.92",
        **found.detail("agent", "runtime"),
        runtime_fps_default_options=spread(defaults),
        cameras=cameras,
        threads=threads,
        weights=WEIGHTS,
    )


def fps_vs_ultralytics_fp32() -> Row:
    """Agent ÷ `YOLO(onnx).predict` on the same frames; the lower end of the interval counts."""
    with tempfile.TemporaryDirectory() as folder:
        build = onnx_fp32(Path(folder))
        found = _against_ultralytics(build)
    return row(
        "edge.fps_vs_ultralytics_fp32",
        found.interval[0],
        ">= 1.05",
        note="the lower end of the 95 % interval of the median ratio",
        **found.detail("agent", "ultralytics"),
        threads=_threads(),
        weights=WEIGHTS,
    )


def fps_vs_ultralytics() -> Row:
    """Agent with the fastest admitted build ÷ Ultralytics with the fp32 file."""
    with tempfile.TemporaryDirectory() as folder:
        evaluated, refused = _evaluate(Path(folder))
        reference = evaluated[REFERENCE][1]
        admitted = [b for b, found in evaluated.values() if found >= reference - MAP_LOSS_MAX]
        fps = {build.name: _median_fps(build) for build in admitted}
        best = max(admitted, key=lambda build: fps[build.name])
        found = _against_ultralytics(best)
    return row(
        "edge.fps_vs_ultralytics",
        found.median,
        ">= 1.5",
        note=f"the fastest build that its evaluation admitted: {best.name}",
        **found.detail("agent", "ultralytics"),
        build=best.name,
        map50_95={name: value for name, (_, value) in evaluated.items()},
        map_loss_max=MAP_LOSS_MAX,
        admitted_fps=fps,
        not_run=refused,
        threads=_threads(),
        weights=WEIGHTS,
    )


def _evaluate(folder: Path) -> tuple[dict[str, tuple[Build, float]], dict[str, str]]:
    """Every build that runs here with its mAP50-95, by name; and why others do not run."""
    from edge_agent.errors import EdgeError

    evaluated: dict[str, tuple[Build, float]] = {}
    refused: dict[str, str] = {}
    for name, make in CANDIDATES.items():
        try:
            build = make(folder / name)
            evaluated[name] = build, map50_95(build, _threads())
        except (EdgeError, ImportError) as reason:
            refused[name] = str(reason)
    if REFERENCE not in evaluated:
        raise RuntimeError(f"{REFERENCE} is what the others are held against: {refused[REFERENCE]}")
    return evaluated, refused


def _median_fps(build: Build) -> float:
    with side(agent, build.folder, build.digest, _threads()) as alone:
        figures = [alone.fps(FRAMES_PER_TURN) for _ in range(TURNS_TO_CHOOSE)]
    return spread(figures)["median"]


def _against_ultralytics(build: Build) -> Comparison:
    with (
        side(agent, build.folder, build.digest, _threads()) as ours,
        side(ultralytics, weights()) as theirs,
    ):
        return compare(ours, theirs, TURNS, FRAMES_PER_TURN)


def _threads() -> int:
    return os.cpu_count() or 1


BENCHES: dict[str, Bench] = {
    "edge.fps_vs_raw_runtime": fps_vs_raw_runtime,
    "edge.four_cameras_vs_raw": four_cameras_vs_raw,
    "edge.fps_vs_ultralytics_fp32": fps_vs_ultralytics_fp32,
    "edge.fps_vs_ultralytics": fps_vs_ultralytics,
}
