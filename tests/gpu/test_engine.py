from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.detector import detect
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.tensorrt.build import BuildOrder, BuiltEngine, build_engine
from edge_agent.detect.tensorrt.cuda import Cuda, call, load_runtime
from edge_agent.detect.tensorrt.errors import EngineBuildError, EngineFileError
from edge_agent.detect.tensorrt.probe import Gpu
from edge_agent.errors import DetectorError
from protocol.builds import Precision
from protocol.bundles import MODEL_PATH
from tests.fixtures.artifacts import INPUT_SIZE, coco_names, load
from tests.gpu.answers import check_same_on_photographs, seen
from tests.gpu.conftest import OpenEngine
from tests.gpu.models import BOX, brightness_model

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("tensorrt")]

FP32 = BuildOrder(Precision.FP32, Precision.FP32, batch=4)
LEVELS = (51, 102, 153, 204)
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def built(tensorrt: Gpu) -> BuiltEngine:
    return build_engine(brightness_model(), FP32)


def test_batches_of_every_size_answer_frame_by_frame(
    built: BuiltEngine, open_engine: OpenEngine
) -> None:
    detector = open_engine(built, batch=4)
    for levels in (LEVELS[:1], LEVELS[:3], LEVELS, LEVELS[2:], LEVELS[:1], LEVELS):
        assert seen(detector, levels) == pytest.approx([v / 255 for v in levels], abs=1e-4)
    white = np.full((INPUT_SIZE, INPUT_SIZE, 3), 255, np.uint8)
    assert detect(detector, white).boxes.tolist() == [list(BOX)]
    detector.close()


def test_with_and_without_a_graph_the_answers_are_the_same(
    built: BuiltEngine, open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = open_engine(built, batch=4)
    graphed = [seen(detector, LEVELS) for _ in range(3)]
    detector.close()
    monkeypatch.setattr(Cuda, "capture", lambda *_: None)
    plain = open_engine(built, batch=4)
    assert [seen(plain, LEVELS) for _ in range(3)] == graphed
    plain.close()


def test_a_static_batch_answers_fewer_frames(open_engine: OpenEngine) -> None:
    detector = open_engine(build_engine(brightness_model(batch=4), FP32), batch=4)
    assert seen(detector, LEVELS[:2]) == pytest.approx([0.2, 0.4], abs=1e-4)
    detector.close()


def test_half_precision_is_asked_for_as_the_version_wants(
    gpu: Gpu, open_engine: OpenEngine
) -> None:
    half = replace(FP32, precision=Precision.FP16)
    if str(gpu.tensorrt_version).startswith("11."):
        with pytest.raises(EngineBuildError, match="export the ONNX file in fp16"):
            build_engine(brightness_model(), half)
    else:
        detector = open_engine(build_engine(brightness_model(), half), batch=4)
        assert seen(detector, LEVELS) == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=5e-3)
        detector.close()
    typed = replace(half, file_precision=Precision.FP16)
    detector = open_engine(build_engine(brightness_model("FLOAT16"), typed), batch=4)
    assert seen(detector, LEVELS) == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=5e-3)
    detector.close()


def test_progress_is_told_and_can_end_a_build(built: BuiltEngine) -> None:
    shares: list[float] = []

    def note(share: float) -> bool:
        shares.append(share)
        return True

    again = build_engine(brightness_model(), FP32, timing_cache=built.timing_cache, progress=note)
    assert again.timing_cache
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    with pytest.raises(EngineBuildError, match="was stopped"):
        build_engine(brightness_model(), FP32, progress=lambda _share: False)


def test_what_is_no_model_is_not_built() -> None:
    for data in (b"no model", brightness_model()[:200]):
        with pytest.raises(EngineBuildError, match="does not read the model"):
            build_engine(data, FP32)


def test_what_is_no_plan_is_refused(built: BuiltEngine, open_engine: OpenEngine) -> None:
    for plan in (b"nonsense", built.plan[:1000]):
        with pytest.raises(EngineFileError, match="does not load"):
            open_engine(replace(built, plan=plan), batch=4)


def test_opening_again_and_again_holds_no_more(built: BuiltEngine, open_engine: OpenEngine) -> None:
    runtime, free = load_runtime(), []
    for _ in range(20):
        detector = open_engine(built, batch=4)
        seen(detector, LEVELS)
        detector.close()
        with pytest.raises(DetectorError, match="closed"):
            seen(detector, LEVELS)
        del detector
        gc.collect()
        free.append(call(runtime, "cudaMemGetInfo"))
    assert free[-1] >= free[2] - 32 * MIB


def test_real_photographs_give_what_onnx_runtime_gives(
    shared_data: Path, tmp_path: Path, open_engine: OpenEngine
) -> None:
    onnx = (shared_data / "weights" / "yolo26n-reconstructed-e2e-640.onnx").read_bytes()
    size: dict[str, Any] = {"input_width": 640, "input_height": 640}
    names = coco_names(shared_data)
    reference = load(tmp_path / "onnx", {MODEL_PATH: onnx}, class_names=names, **size)
    order = replace(FP32, batch=1, class_names=names)
    detector = open_engine(build_engine(onnx, order), class_names=names, **size)
    check_same_on_photographs(detector, reference, shared_data)
    detector.close()


def test_the_floor_is_the_options(built: BuiltEngine, open_engine: OpenEngine) -> None:
    detector = open_engine(built, batch=4)
    dark = np.full((INPUT_SIZE, INPUT_SIZE, 3), int(LoadOptions().floor * 255) - 2, np.uint8)
    assert len(detect(detector, dark)) == 0
    detector.close()
