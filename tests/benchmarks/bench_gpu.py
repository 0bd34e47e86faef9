"""ONNX Runtime's CUDA provider on an NVIDIA GPU: how much of the runtime's speed a detector
gives, what it gains over the CPU, and what loading a second model does to the first."""

from __future__ import annotations

import functools
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detector
from edge_agent.detect.providers import CUDA
from edge_agent.detect.tensorrt.probe import probe
from protocol.bundles import MODEL_PATH
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
from tests.fixtures.artifacts import coco_names, load

SIDE = 640
TURNS, FRAMES_A_TURN, WARM_UP = 51, 60, 100
WINDOWS, WINDOW_S = 12, 2.0
CPU_FRAMES = 20

Tensor = npt.NDArray[np.floating[Any]]


@functools.cache
def _gpu() -> str:
    """The GPU's name. Raises Unavailable where it, or the runtime's provider for it, lacks."""
    name = probe().name
    if name is None:
        raise Unavailable("no NVIDIA GPU on this machine")
    try:
        import onnxruntime
    except ImportError:
        raise Unavailable("ONNX Runtime is not installed: argosy[edge-cuda]") from None
    if CUDA not in onnxruntime.get_available_providers():
        raise Unavailable("this ONNX Runtime has no CUDA provider: install argosy[edge-cuda]")
    return name


def _detector(folder: Path, runtime: str) -> Detector:
    weights = shared_data() / "weights" / "yolo26n-reconstructed-e2e-640.onnx"
    return load(
        folder,
        {MODEL_PATH: weights.read_bytes()},
        threads=0,
        runtime=runtime,
        class_names=coco_names(shared_data()),
        input_width=SIDE,
        input_height=SIDE,
    )


def _photographs(count: int) -> list[npt.NDArray[np.uint8]]:
    import cv2

    paths = sorted((shared_data() / "coco128" / "images").rglob("*.jpg"))[:count]
    return [np.asarray(cv2.imread(str(path)), dtype=np.uint8) for path in paths]


def _bare(folder: Path) -> Callable[[Tensor], object]:
    """The runtime alone as its own documentation binds it: copy there, run, copy back."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / MODEL_PATH),
        providers=[(CUDA, {"use_tf32": 0, "cudnn_conv_algo_search": "EXHAUSTIVE"})],
    )
    given, taken = session.get_inputs()[0].name, session.get_outputs()[0].name
    value = onnxruntime.OrtValue.ortvalue_from_numpy(
        np.zeros((1, 3, SIDE, SIDE), np.float32), "cuda", 0
    )
    io = session.io_binding()
    io.bind_ortvalue_input(given, value)
    io.bind_output(taken, "cuda")

    def run(tensor: Tensor) -> object:
        value.update_inplace(tensor)
        session.run_with_iobinding(io)
        return io.copy_outputs_to_cpu()[0]

    return run


def _seconds_a_frame(act: Callable[[Any], object], given: Sequence[Any], frames: int) -> float:
    began = time.perf_counter()
    for number in range(frames):
        act(given[number % len(given)])
    return (time.perf_counter() - began) / frames


def infer_vs_raw_runtime() -> Row:
    """Frames per second of a detector's inference with its postprocessing ÷ the bare runtime's."""
    name = _gpu()
    with tempfile.TemporaryDirectory() as folder:
        detector = _detector(Path(folder), "onnxruntime-cuda")
        prepared = [detector.prepare([image]) for image in _photographs(16)]
        bare = _bare(Path(folder))
        tensors = [given.tensor for given in prepared]
        _seconds_a_frame(detector.infer, prepared, WARM_UP)
        _seconds_a_frame(bare, tensors, WARM_UP)
        ours, theirs = in_turns(
            lambda: _seconds_a_frame(detector.infer, prepared, FRAMES_A_TURN),
            lambda: _seconds_a_frame(bare, tensors, FRAMES_A_TURN),
            TURNS,
        )
        detector.close()
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return row(
        "gpu.infer_vs_raw_runtime",
        median_ratio(theirs, ours),
        ">= 0.92",
        interval_95=bootstrap_interval(ratios),
        ours_ms=spread([1000 * s for s in ours]),
        bare_ms=spread([1000 * s for s in theirs]),
        gpu=name,
    )


def speedup_vs_cpu() -> Row:
    """Whole frames, from the photograph to its detections, on the GPU against this CPU."""
    name = _gpu()
    images = _photographs(16)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        cuda, cpu = (
            _detector(Path(first), "onnxruntime-cuda"),
            _detector(Path(second), "onnxruntime"),
        )

        def whole(detector: Detector) -> Callable[[npt.NDArray[np.uint8]], object]:
            return lambda image: detector.infer(detector.prepare([image]))

        _seconds_a_frame(whole(cuda), images, WARM_UP)
        _seconds_a_frame(whole(cpu), images, 4)
        ours, theirs = in_turns(
            lambda: _seconds_a_frame(whole(cuda), images, FRAMES_A_TURN),
            lambda: _seconds_a_frame(whole(cpu), images, CPU_FRAMES),
            5,
        )
        for detector in (cuda, cpu):
            detector.close()
    return row(
        "gpu.frames_vs_cpu",
        median_ratio(theirs, ours),
        ">= 1.0",
        cuda_ms=spread([1000 * s for s in ours]),
        cpu_ms=spread([1000 * s for s in theirs]),
        gpu=name,
    )


def load_gap_ratio() -> Row:
    """The largest gap between answers while a second model is loaded, warmed and takes the
    first one's place ÷ the largest gap in windows without that, in turns."""
    name = _gpu()
    images = _photographs(16)
    with tempfile.TemporaryDirectory() as folder:
        slot = [_detector(Path(folder) / "0", "onnxruntime-cuda")]
        prepared = [slot[0].prepare([image]) for image in images]
        _seconds_a_frame(slot[0].infer, prepared, WARM_UP)
        retired: list[Detector] = []

        def exchange() -> None:
            place = Path(folder) / str(len(retired) + 1)
            candidate = _detector(place, "onnxruntime-cuda")
            candidate.infer(prepared[0])
            retired.append(slot[0])
            slot[0] = candidate

        with_one, without = in_turns(
            lambda: _largest_gap_s(slot, prepared, exchange),
            lambda: _largest_gap_s(slot, prepared, None),
            WINDOWS,
        )
        for detector in [*retired, *slot]:
            detector.close()
    return row(
        "gpu.swap_gap_ratio",
        float(np.median(with_one) / np.median(without)),
        "<= 1.25",
        with_exchange_ms=spread([1000 * s for s in with_one]),
        without_ms=spread([1000 * s for s in without]),
        gpu=name,
        note=f"windows of {WINDOW_S:g} s at 30 frames a second, in one process and one slot",
    )


def _largest_gap_s(
    slot: Sequence[Detector], prepared: Sequence[Any], meanwhile: Callable[[], None] | None
) -> float:
    """Serve at 30 frames a second; the longest time between two answers."""
    worker = threading.Thread(target=meanwhile) if meanwhile else None
    began = last = time.perf_counter()
    largest, frame = 0.0, 0
    if worker is not None:
        worker.start()
    while time.perf_counter() - began < WINDOW_S or (worker is not None and worker.is_alive()):
        slot[0].infer(prepared[frame % len(prepared)])
        now = time.perf_counter()
        largest, last, frame = max(largest, now - last), now, frame + 1
        time.sleep(max(0.0, began + frame / 30 - time.perf_counter()))
    if worker is not None:
        worker.join()
    return largest


BENCHES: dict[str, Bench] = {
    "gpu.infer_vs_raw_runtime": infer_vs_raw_runtime,
    "gpu.frames_vs_cpu": speedup_vs_cpu,
    "gpu.swap_gap_ratio": load_gap_ratio,
}
