"""How much longer an evaluation takes than the inference in it, in turns, on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.detect.options import cores
from edge_agent.evaluate import STREAMS_MAX
from tests.benchmarks.builds import SIZE, Build, onnx_fp32, weights
from tests.benchmarks.harness import (
    Bench,
    Row,
    Unavailable,
    bootstrap_interval,
    in_turns,
    median_ratio,
    row,
    shared_data,
    spread,
)
from tests.benchmarks.sides import Turn, side

REPETITIONS = 5
SETS = {"coco128": 128, "deeppcb": 150}
SET_OF_THE_ROW = "coco128"


@dataclass(frozen=True)
class Evaluated:
    """One `argosy-agent evaluate`: from the first image to the last answer, and all its life."""

    wall_s: float
    life_s: float


@dataclass(frozen=True)
class Compared:
    """A set's evaluations and its bare inferences (s), pair by pair."""

    evaluated: list[Evaluated]
    bare_s: list[float]

    def detail(self) -> dict[str, Any]:
        wall_s = [e.wall_s for e in self.evaluated]
        life_s = [e.life_s for e in self.evaluated]
        ratios = [a / b for a, b in zip(wall_s, self.bare_s, strict=True)]
        return {
            "ratio": median_ratio(wall_s, self.bare_s),
            "interval_95": bootstrap_interval(ratios),
            "ratio_with_start_and_load": median_ratio(life_s, self.bare_s),
            "evaluation_s": spread(wall_s),
            "evaluation_with_start_and_load_s": spread(life_s),
            "bare_inference_s": spread(self.bare_s),
        }


def vs_bare_inference() -> Row:
    """`argosy-agent evaluate` ÷ bare ONNX Runtime over the same images, as prepared tensors."""
    began = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        build = onnx_fp32(Path(folder) / "bundle")
        found = {name: _compare(build, _pictures(name, most)) for name, most in SETS.items()}
    figures = {name: compared.detail() for name, compared in found.items()}
    return row(
        "evaluation.vs_bare_inference",
        figures[SET_OF_THE_ROW]["ratio"],
        "<= 1.2",
        note=f"{SET_OF_THE_ROW}, first image read to last answer written; with process start "
        f"and model load {figures[SET_OF_THE_ROW]['ratio_with_start_and_load']:.3g}",
        sets=figures,
        threads=_threads(),
        streams=_threads(),
        load_average=[began, os.getloadavg()[0]],
        weights=f"yolo26n, reconstructed, {SIZE} px, fp32",
    )


def bare_inference(paths: Sequence[Path], streams: int) -> Turn:
    """ONNX Runtime alone over all images' tensors: `streams` at a time, one thread each."""
    import onnxruntime

    from edge_agent.cameras.images import read_image
    from edge_agent.detect.letterbox import Letterbox
    from edge_agent.detect.onnx import session_options

    session = onnxruntime.InferenceSession(
        str(weights()), session_options(1), providers=["CPUExecutionProvider"]
    )
    name, letterbox = session.get_inputs()[0].name, Letterbox(SIZE, SIZE)
    tensors = [letterbox.prepare((read_image(path),)).tensor for path in paths]

    def turn(frames: int) -> float:
        waiting = iter(tensors[:frames])
        taking = threading.Lock()

        def infer() -> None:
            while True:
                with taking:
                    tensor = next(waiting, None)
                if tensor is None:
                    return
                session.run(None, {name: tensor})

        threads = [threading.Thread(target=infer) for _ in range(streams)]
        began_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began_s

    return turn


def _compare(build: Build, paths: Sequence[Path]) -> Compared:
    evaluated: list[Evaluated] = []
    with side(bare_inference, paths, _threads()) as bare:

        def evaluation_s() -> float:
            evaluated.append(_evaluate(build, paths))
            return evaluated[-1].wall_s

        _, bare_s = in_turns(
            evaluation_s, lambda: len(paths) / bare.fps(len(paths)), 1 + REPETITIONS
        )
    # The first pair warms the caches.
    return Compared(evaluated[1:], bare_s[1:])


def _evaluate(build: Build, paths: Sequence[Path]) -> Evaluated:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images.txt").write_text("".join(f"{path}\n" for path in paths))
        places = {"images": "images.txt", "out": "out.jsonl"}
        places |= {name: f"{name}.json" for name in ("summary", "stats", "progress")}
        options = [str(part) for key, at in places.items() for part in (f"--{key}", folder / at)]
        command = [sys.executable, "-m", "edge_agent", "evaluate", "--bundle", str(build.folder)]
        began_s = time.monotonic()
        subprocess.run(
            [*command, *options, "--threads", str(_threads())], check=True, capture_output=True
        )
        life_s = time.monotonic() - began_s
        summary = json.loads((folder / "summary.json").read_text())
    if (summary["images"], summary["streams"]) != (len(paths), _threads()):
        raise RuntimeError(f"the evaluation did other work than the bare runtime: {summary}")
    return Evaluated(summary["wall_s"], life_s)


def _pictures(name: str, most: int) -> list[Path]:
    paths = sorted((shared_data() / name / "images").rglob("*.jpg"))[:most]
    if len(paths) < most:
        raise Unavailable(f"needs {most} images of {name}; there are {len(paths)}")
    return paths


def _threads() -> int:
    """As many as both sides use, on as many streams; an evaluation has STREAMS_MAX at most."""
    return min(STREAMS_MAX, cores())


BENCHES: dict[str, Bench] = {"evaluation.vs_bare_inference": vs_bare_inference}
