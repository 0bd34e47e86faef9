"""What counting and harvesting cost: the sinks' own processor time ÷ the time of a frame.

The time is that of the delivery's thread within each call, while the runtime keeps all
cores busy with the next frames, as it does on a device.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge_agent.cameras.source import Image
from edge_agent.detect.bundle import LoadedBundle, load_bundle
from edge_agent.detect.detector import detect
from edge_agent.detect.options import LoadOptions
from edge_agent.results import FrameResult, Sink
from tests.benchmarks.builds import onnx_fp32
from tests.benchmarks.harness import Bench, Row, row, spread
from tests.benchmarks.seeing_sides import Arrivals, Gate, photographs, seeing_pipeline

TURNS = 15
FRAMES_PER_TURN = 80
DETECTIONS_WANTED = 20
FRAMES = 16
PHOTOGRAPHS = 128


class _Timed:
    """A sink with a stopwatch around it."""

    def __init__(self, sink: Sink) -> None:
        self.name, self._sink = sink.name, sink
        self.spent_s = 0.0

    def take(self, result: FrameResult) -> None:
        began_s = time.thread_time()
        self._sink.take(result)
        self.spent_s += time.thread_time() - began_s

    def tick(self, now_s: float) -> None:
        began_s = time.thread_time()
        self._sink.tick(now_s)
        self.spent_s += time.thread_time() - began_s

    def close(self) -> None:
        self._sink.close()


@dataclass
class Measured:
    """Shares of the frame time by sink and turn, and what they were measured on."""

    detections_per_frame: float
    frame_ms: list[float] = field(default_factory=list)
    sink_ms: dict[str, list[float]] = field(default_factory=dict)

    def share(self, sink: str) -> float:
        """Of all turns together."""
        return sum(self.sink_ms[sink]) / sum(self.frame_ms)


@lru_cache(maxsize=1)
def measure() -> Measured:
    """All turns, once for both rows."""
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        build = onnx_fp32(Path(folder))
        bundle = load_bundle(build.folder, build.digest, LoadOptions(threads))
        frames, detections = _busy_frames(bundle)
        gate, arrivals, timed = Gate(frames), Arrivals(), dict[str, _Timed]()

        def stopwatch(sink: Sink) -> Sink:
            timed[sink.name] = _Timed(sink)
            return timed[sink.name]

        pipeline = seeing_pipeline(bundle, {"camera": gate}, arrivals, stopwatch)
        pipeline.start()
        found = Measured(detections, sink_ms={name: [] for name in timed})
        for _ in range(TURNS):
            before_s = {name: sink.spent_s for name, sink in timed.items()}
            began_s = time.monotonic()
            arrivals.expect(FRAMES_PER_TURN)
            gate.release(FRAMES_PER_TURN)
            found.frame_ms.append((arrivals.wait() - began_s) * 1000 / FRAMES_PER_TURN)
            for name, sink in timed.items():
                spent_s = sink.spent_s - before_s[name]
                found.sink_ms[name].append(spent_s * 1000 / FRAMES_PER_TURN)
        gate.end()
        pipeline.stop()
        bundle.detector.close()
    return found


def _busy_frames(bundle: LoadedBundle) -> tuple[list[Image], float]:
    """The photographs whose number of detections is nearest to the one wanted, and their mean."""
    seen = [(len(detect(bundle.detector, p)), p) for p in photographs(PHOTOGRAPHS)]
    seen.sort(key=lambda pair: abs(pair[0] - DETECTIONS_WANTED))
    chosen = seen[:FRAMES]
    return [picture for _, picture in chosen], float(np.mean([count for count, _ in chosen]))


def stats_share() -> Row:
    return _row("edge.stats_share", "statistics", "<= 0.02")


def harvest_share() -> Row:
    return _row("edge.harvest_share", "harvest", "<= 0.03")


def _row(name: str, sink: str, goal: str) -> Row:
    found = measure()
    return row(
        name,
        found.share(sink),
        goal,
        note="processor time of the sink in the delivery's thread ÷ time of a frame",
        sink_ms=spread(found.sink_ms[sink]),
        frame_ms=spread(found.frame_ms),
        detections_per_frame=found.detections_per_frame,
        frames=TURNS * FRAMES_PER_TURN,
        threads=os.cpu_count(),
    )


BENCHES: dict[str, Bench] = {
    "edge.stats_share": stats_share,
    "edge.harvest_share": harvest_share,
}
