"""Who is compared in the seeing rows: the agent's pipeline, a bare runtime, Ultralytics.

Each function runs in a process of its own (see sides.py) and answers with its turn. All
see the same photographs, which lie in memory as 1280 x 720 frames: decoding is on no side.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from edge_agent.cameras.capture import CaptureLimits
from edge_agent.cameras.source import CameraSpec, Grab, Image, Source, no_image
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.options import LoadOptions, streams_for
from edge_agent.harvest.sink import HarvestSink
from edge_agent.ledger import Ledger
from edge_agent.observe.machine import Machine
from edge_agent.observe.windows import WindowSink
from edge_agent.pipeline import Pipeline, PipelineLimits
from edge_agent.results import FrameResult, Sink
from edge_agent.update.slot import Slot
from protocol.messages import HarvestPolicy
from tests.benchmarks.harness import shared_data
from tests.benchmarks.sides import TURN_DEADLINE_S, Turn

SIZE = 640
FRAME_SIZE = (1280, 720)
PHOTOGRAPHS = 16
SLOT = "yolo26n"


def photographs(count: int = PHOTOGRAPHS) -> list[Image]:
    """Real photographs as 1280 x 720 frames, uint8 BGR."""
    import cv2

    paths = sorted((shared_data() / "coco128" / "images").rglob("*.jpg"))[:count]
    frames = [cv2.resize(cv2.imread(str(p)), FRAME_SIZE) for p in paths]  # type: ignore[arg-type]
    return [np.asarray(frame, dtype=np.uint8) for frame in frames]


class Gate(Source):
    """A source whose frames are let out by the turn."""

    fps: float | None = None

    def __init__(self, frames: Sequence[Image]) -> None:
        self._frames, self._index = frames, -1
        self._released = threading.Semaphore(0)
        self._ended = False

    def release(self, frames: int) -> None:
        self._released.release(frames)

    def end(self) -> None:
        """No frame comes after those that were let out."""
        self._ended = True
        self._released.release()

    def read(self, decode: bool = True) -> Grab | None:
        self._released.acquire()
        if self._ended:
            return None
        self._index += 1
        picture = self._frames[self._index % len(self._frames)] if decode else no_image()
        return Grab(picture, self._index)

    def close(self) -> None:
        """Nothing is held."""


class Arrivals:
    """Sink that tells when so many results are there."""

    name = "arrivals"

    def __init__(self) -> None:
        self._left, self._last_s = 0, 0.0
        self._there = threading.Event()

    def expect(self, results: int) -> None:
        self._there.clear()
        self._left = results

    def wait(self) -> float:
        """When the last one was there, on the monotonic clock."""
        if not self._there.wait(TURN_DEADLINE_S):
            raise RuntimeError(f"{self._left} results never came")
        return self._last_s

    def take(self, result: FrameResult) -> None:
        self._last_s = result.result_monotonic
        self._left -= 1
        if not self._left:
            self._there.set()

    def tick(self, now_s: float) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Nothing is held."""


def agent(folder: Path, digest: str, threads: int, cameras: int = 1) -> Turn:
    """The whole pipeline with statistics and harvest on, from frames let out to last answer.

    A turn begins with an empty pipeline, so filling it is within the time taken.
    """
    gates = {f"camera-{number}": Gate(photographs()) for number in range(cameras)}
    arrivals = Arrivals()
    streams = streams_for([False] * cameras, PipelineLimits.streams_max)
    bundle = load_bundle(folder, digest, LoadOptions(threads, streams=streams))
    pipeline = seeing_pipeline(bundle, gates, arrivals)
    pipeline.start()

    def turn(frames: int) -> float:
        arrivals.expect(frames)
        started_s = time.monotonic()
        for gate in gates.values():
            gate.release(frames // cameras)
        return arrivals.wait() - started_s

    return turn


def seeing_pipeline(
    bundle: LoadedBundle,
    gates: dict[str, Gate],
    arrivals: Arrivals,
    around: Callable[[Sink], Sink] = lambda sink: sink,
) -> Pipeline:
    """The agent's pipeline with cameras in one slot; `around` may wrap the agent's sinks."""
    slot = Slot(SLOT)
    slot.exchange(bundle)
    ledger = Ledger(gates)
    machine = Machine(time.monotonic)

    def opened(spec: CameraSpec, _connection: str, _limits: CaptureLimits) -> Source:
        return gates[spec.id]

    return Pipeline(
        [CameraSpec(name, "memory", SLOT, live=False) for name in gates],
        {slot.name: slot},
        [
            around(WindowSink(10.0, ledger, lambda *_: None, machine.read)),
            around(HarvestSink(HarvestPolicy(), Random(1), lambda _: None)),
            arrivals,
        ],
        ledger=ledger,
        clock=Clock(),
        rng=Random(1),
        open_source=opened,
    )


def bare_runtime(weights: Path, threads: int, agents_options: bool = True) -> Turn:
    """ONNX Runtime alone on one prepared tensor."""
    import onnxruntime

    from edge_agent.detect.letterbox import Letterbox
    from edge_agent.detect.onnx import session_options

    options = session_options(threads) if agents_options else onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(
        str(weights), options, providers=["CPUExecutionProvider"]
    )
    given = {session.get_inputs()[0].name: Letterbox(SIZE, SIZE).prepare(photographs(1)).tensor}

    def turn(frames: int) -> float:
        started_s = time.monotonic()
        for _ in range(frames):
            session.run(None, given)
        return time.monotonic() - started_s

    return turn


def ultralytics(weights: Path) -> Turn:
    """`YOLO(weights).predict` on one frame after the other, at its own defaults."""
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics import YOLO

    frames, model = photographs(), YOLO(str(weights), task="detect")

    def turn(count: int) -> float:
        started_s = time.monotonic()
        for index in range(count):
            model.predict(frames[index % len(frames)], imgsz=SIZE, device="cpu", verbose=False)
        return time.monotonic() - started_s

    return turn
