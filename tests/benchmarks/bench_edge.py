"""The agent's speed against the bare runtime and against Ultralytics, in turns, on one machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.cameras.source import CameraSpec, Image
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.onnx import OnnxDetector, session_options
from edge_agent.harvest.sink import HarvestSink
from edge_agent.ledger import Ledger
from edge_agent.observe.windows import WindowSink
from edge_agent.pipeline import Pipeline
from edge_agent.results import FrameResult
from edge_agent.update.slot import Slot
from protocol.bundles import digest
from protocol.messages import HarvestPolicy
from tests.benchmarks.harness import (
    Bench,
    Row,
    bootstrap_interval,
    in_turns,
    median_ratio,
    row,
    shared_data,
    spread,
)
from tests.fixtures.seeing import from_memory, manifest

WEIGHTS = "weights/yolo26n-reconstructed-e2e-640.onnx"
SIZE = 640
FRAME_SIZE = (1280, 720)
FRAMES_PER_TURN = 60
TURNS = 15
COCO_CLASSES = 80


@dataclass
class _Arrivals:
    """Sink that notes when results come."""

    name: str = "arrivals"
    at_s: list[float] = field(default_factory=list)

    def take(self, result: FrameResult) -> None:
        self.at_s.append(result.result_monotonic)

    def tick(self, now_s: float) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is held."""


def photographs() -> list[Image]:
    """Real photographs as 1280 x 720 frames, uint8 BGR."""
    import cv2

    paths = sorted((shared_data() / "coco128" / "images").rglob("*.jpg"))[:16]
    frames = [cv2.resize(cv2.imread(str(p)), FRAME_SIZE) for p in paths]  # type: ignore[arg-type]
    return [np.asarray(frame, dtype=np.uint8) for frame in frames]


def loaded(weights: Path, threads: int) -> LoadedBundle:
    """The model file as a bundle."""
    made = manifest(classes=COCO_CLASSES, input_size=SIZE, model="yolo26n")
    return LoadedBundle(digest(made), made, OnnxDetector(weights, threads=threads))


def agent_fps(bundle: LoadedBundle, frames: Sequence[Image], count: int) -> float:
    """Results per second of the whole pipeline with statistics and harvest on."""
    slot, camera = Slot("yolo26n"), CameraSpec("memory", "memory", "yolo26n", live=False)
    slot.exchange(bundle)
    ledger, arrivals = Ledger([camera.id]), _Arrivals()
    pipeline = Pipeline(
        [camera],
        {slot.name: slot},
        [
            WindowSink(10.0, ledger, lambda *_: None),
            HarvestSink(HarvestPolicy(), Random(1), lambda _: None),
            arrivals,
        ],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        open_source=from_memory(frames, count),
    )
    pipeline.start()
    while not pipeline.ended():
        time.sleep(0.02)
    pipeline.stop()
    if len(arrivals.at_s) != count:
        raise RuntimeError(f"{len(arrivals.at_s)} results of {count} frames")
    return (count - 1) / (arrivals.at_s[-1] - arrivals.at_s[0])


def runtime_fps(session: Any, tensor: npt.NDArray[np.float32], count: int) -> float:
    """Runs per second of the bare session on one prepared tensor."""
    name = session.get_inputs()[0].name
    started_s = time.monotonic()
    for _ in range(count):
        session.run(None, {name: tensor})
    return count / (time.monotonic() - started_s)


def fps_vs_raw_runtime() -> Row:
    """Agent ÷ bare ONNX Runtime: same model, same threads, same options."""
    import onnxruntime

    weights, threads = shared_data() / WEIGHTS, os.cpu_count() or 1
    frames, bundle = photographs(), loaded(shared_data() / WEIGHTS, threads)
    tensor = bundle.detector.prepare(frames[:1]).tensor.astype(np.float32)
    sessions = {
        "bare": session_options(threads),
        "bare_default_options": onnxruntime.SessionOptions(),
    }
    bare, default = (
        onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        for options in sessions.values()
    )
    _warm(lambda: runtime_fps(bare, tensor, 5), lambda: agent_fps(bundle, frames, 10))
    ours, theirs = in_turns(
        lambda: agent_fps(bundle, frames, FRAMES_PER_TURN),
        lambda: runtime_fps(bare, tensor, FRAMES_PER_TURN),
        TURNS,
    )
    defaults = [runtime_fps(default, tensor, FRAMES_PER_TURN) for _ in range(3)]
    bundle.detector.close()
    return row(
        "edge.fps_vs_raw_runtime",
        median_ratio(ours, theirs),
        ">= 0.92",
        agent_fps=spread(ours),
        runtime_fps=spread(theirs),
        runtime_fps_default_options=spread(defaults),
        interval_95=bootstrap_interval([a / b for a, b in zip(ours, theirs, strict=True)]),
        threads=threads,
        frames_per_turn=FRAMES_PER_TURN,
        weights="yolo26n, reconstructed, 640 px, fp32",
    )


def fps_vs_ultralytics_fp32() -> Row:
    """Agent ÷ `YOLO(onnx).predict` on the same frames; the lower end of the interval counts."""
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics import YOLO

    weights, threads = shared_data() / WEIGHTS, os.cpu_count() or 1
    frames, bundle = photographs(), loaded(weights, threads)
    model = YOLO(str(weights), task="detect")

    def ultralytics_fps() -> float:
        started_s = time.monotonic()
        for index in range(FRAMES_PER_TURN):
            model.predict(frames[index % len(frames)], imgsz=SIZE, device="cpu", verbose=False)
        return FRAMES_PER_TURN / (time.monotonic() - started_s)

    _warm(ultralytics_fps, lambda: agent_fps(bundle, frames, 10))
    ours, theirs = in_turns(
        lambda: agent_fps(bundle, frames, FRAMES_PER_TURN), ultralytics_fps, TURNS
    )
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, high = bootstrap_interval(ratios)
    bundle.detector.close()
    return row(
        "edge.fps_vs_ultralytics_fp32",
        low,
        ">= 1.05",
        note="the lower end of the 95 % interval of the median ratio",
        median=median_ratio(ours, theirs),
        interval_95=(low, high),
        agent_fps=spread(ours),
        ultralytics_fps=spread(theirs),
        threads=threads,
        frames_per_turn=FRAMES_PER_TURN,
        weights="yolo26n, reconstructed, 640 px, fp32",
    )


def _warm(*sides: Callable[[], float]) -> None:
    for side in sides:
        side()


BENCHES: dict[str, Bench] = {
    "edge.fps_vs_raw_runtime": fps_vs_raw_runtime,
    "edge.fps_vs_ultralytics_fp32": fps_vs_ultralytics_fp32,
}
