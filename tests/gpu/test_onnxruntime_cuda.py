"""ONNX Runtime's CUDA provider: the same answers as on the CPU, and nothing quietly elsewhere."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.detector import Detector, detect
from edge_agent.detect.network import NetworkDetector
from edge_agent.detect.onnx import BoundOnnxNetwork, open_session, signature_of
from edge_agent.detect.providers import CPU, CUDA, chain
from edge_agent.detect.signature import bind
from edge_agent.detect.tensorrt.probe import Gpu, probe
from edge_agent.doctor.gpu import judge
from edge_agent.errors import BundleError
from protocol.builds import Precision
from protocol.bundles import GOLDEN_PATH, MODEL_PATH
from tests.fixtures.artifacts import INPUT_SIZE, coco_names, load, manifest_for
from tests.gpu.answers import check_same_on_photographs, seen
from tests.gpu.models import BOX, brightness_model

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("cuda_provider")]

RUNTIME = "onnxruntime-cuda"
LEVELS = (51, 102, 153, 204)
MIB = 1024 * 1024


def free_bytes() -> int:
    import pynvml

    pynvml.nvmlInit()
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).free)
    finally:
        pynvml.nvmlShutdown()


def open_cuda(folder: Path, element: str = "FLOAT", **manifest: Any) -> Detector:
    return load(folder, {MODEL_PATH: brightness_model(element)}, runtime=RUNTIME, **manifest)


def test_batches_of_every_size_answer_frame_by_frame(tmp_path: Path) -> None:
    detector = open_cuda(tmp_path, batch=4)
    assert isinstance(detector, NetworkDetector)
    for levels in (LEVELS[:1], LEVELS[:3], LEVELS, LEVELS[2:], LEVELS[:1], LEVELS):
        assert seen(detector, levels) == pytest.approx([v / 255 for v in levels], abs=1e-4)
    white = np.full((INPUT_SIZE, INPUT_SIZE, 3), 255, np.uint8)
    assert detect(detector, white).boxes.tolist() == [list(BOX)]
    detector.close()


def test_the_session_runs_on_the_gpu_and_its_tensors_lie_there(tmp_path: Path) -> None:
    (tmp_path / MODEL_PATH).write_bytes(brightness_model())
    files = {MODEL_PATH: b"", GOLDEN_PATH: b"{}"}
    manifest = manifest_for(files, runtime=RUNTIME, batch=2)
    session = open_session(tmp_path / MODEL_PATH, 1, chain(manifest.build, None, {}))
    assert session.get_providers() == [CUDA, CPU]
    binding = bind(signature_of(MODEL_PATH, session), manifest)
    network = BoundOnnxNetwork(MODEL_PATH, session, binding, device="cuda")
    tensor = np.full((2, 3, INPUT_SIZE, INPUT_SIZE), 0.5, np.float32)
    network.run(tensor, lambda _answer: ())
    ((_io, value),) = network._bound.values()
    assert value.device_name() == "cuda"
    network.close()


def test_half_precision_is_what_a_half_file_computes_in(tmp_path: Path) -> None:
    half = {"precision": Precision.FP16, "runtime_precision": Precision.FP16, "batch": 4}
    detector = open_cuda(tmp_path / "half", "FLOAT16", **half)
    assert seen(detector, LEVELS) == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=5e-3)
    detector.close()
    with pytest.raises(BundleError, match="computes a fp32 file in fp32"):
        open_cuda(tmp_path / "widened", "FLOAT", runtime_precision=Precision.FP16, batch=4)


def test_opening_again_and_again_holds_no_more(tmp_path: Path) -> None:
    free = []
    for number in range(20):
        detector = open_cuda(tmp_path / str(number), batch=4)
        seen(detector, LEVELS)
        detector.close()
        del detector
        gc.collect()
        free.append(free_bytes())
    assert free[-1] >= free[2] - 32 * MIB


def test_real_photographs_give_what_the_cpu_gives(shared_data: Path, tmp_path: Path) -> None:
    onnx = (shared_data / "weights" / "yolo26n-reconstructed-e2e-640.onnx").read_bytes()
    size: dict[str, Any] = {"input_width": 640, "input_height": 640}
    names = coco_names(shared_data)
    cpu = load(tmp_path / "cpu", {MODEL_PATH: onnx}, class_names=names, **size)
    cuda = load(tmp_path / "cuda", {MODEL_PATH: onnx}, class_names=names, runtime=RUNTIME, **size)
    check_same_on_photographs(cuda, cpu, shared_data)
    for detector in (cpu, cuda):
        detector.close()


def test_the_doctor_names_the_gpu(gpu: Gpu) -> None:
    found = judge(probe().name, probe().compute_capability, hardware=True)
    assert gpu.name is not None and gpu.name in found.text and gpu.driver_version
