from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.detect.tensorrt.build import BuildOrder, build_engine
from edge_agent.detect.tensorrt.errors import EngineBuildError
from edge_agent.errors import DetectorError
from protocol.builds import Precision
from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import SURFACES
from tests.unit.edge_agent.detect.tensorrt.stage import IMAGES, Stage, grey_model, static_model

ONNX = b"an onnx file"
FP32 = BuildOrder(Precision.FP32, Precision.FP32, batch=4, class_names=("scratch", "dent"))
OLDEST = next(iter(SURFACES))


@pytest.fixture
def ready(stage: Stage) -> Stage:
    stage.trt.models[ONNX] = grey_model()
    return stage


def test_a_plan_with_its_description_and_timings(ready: Stage) -> None:
    built = build_engine(ONNX, FP32)
    assert built.plan == b"plan of an onnx file"
    said = built.metadata
    assert (said.imgsz, said.batch, said.names) == ((64, 64), 4, {0: "scratch", 1: "dent"})
    assert (said.tensorrt_version, said.precision) == ("11.4.0.106", Precision.FP32)
    assert built.timing_cache == b"+new"
    assert ready.trt.seen["WORKSPACE"] == 1024**3
    assert ready.trt.seen["profile"][1:] == ((1, 3, 64, 64), (4, 3, 64, 64), (4, 3, 64, 64))
    assert ready.cuda.held == 0


@pytest.mark.parametrize("version", SURFACES)
@pytest.mark.parametrize("wanted", [Precision.FP32, Precision.FP16])
def test_flags_by_version_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, wanted: Precision
) -> None:
    stage = Stage(tmp_path, monkeypatch, version)
    stage.trt.models[ONNX] = grey_model()
    order = replace(FP32, precision=wanted)
    if version.startswith("11.") and wanted is Precision.FP16:
        with pytest.raises(EngineBuildError, match="export the ONNX file in fp16"):
            build_engine(ONNX, order)
        build_engine(ONNX, replace(order, file_precision=wanted))
        assert (stage.trt.seen["flags"], stage.trt.seen["network_flags"]) == (set(), 0)
        return
    build_engine(ONNX, order)
    assert stage.trt.seen["flags"] == ({"FP16"} if wanted is Precision.FP16 else set())
    names = SURFACES[version]["NetworkDefinitionCreationFlag"]
    strong = 1 << names.index("STRONGLY_TYPED") if version.startswith("10.") else 0
    expected = 0 if wanted is Precision.FP16 else strong
    assert stage.trt.seen["network_flags"] == expected


def test_a_static_model_needs_no_profile(ready: Stage) -> None:
    ready.trt.models[ONNX] = static_model(4)
    build_engine(ONNX, FP32)
    assert ready.trt.seen["profile"] is None


@pytest.mark.parametrize(
    ("given", "kept"),
    [(b"", b"+new"), (b"t", b"t+new"), (b"broken", b"+new"), (b"of another machine", b"+new")],
)
def test_timings_serve_again_unless_they_are_of_another_machine(
    ready: Stage, given: bytes, kept: bytes
) -> None:
    assert build_engine(ONNX, FP32, timing_cache=given).timing_cache == kept


def test_progress_is_told_and_can_end_the_build(ready: Stage) -> None:
    ready.trt.models[ONNX] = grey_model(steps=[("build", None, 2), ("time", "build", 2)])
    shares: list[float] = []

    def note(share: float) -> bool:
        shares.append(share)
        return True

    build_engine(ONNX, FP32, progress=note)
    assert shares == sorted(shares)
    assert shares[0] == 0.5
    with pytest.raises(EngineBuildError, match="was stopped"):
        build_engine(ONNX, FP32, progress=lambda _share: False)


def test_an_error_of_who_is_told_comes_out_after_the_build(ready: Stage) -> None:
    ready.trt.models[ONNX] = grey_model(steps=[("build", None, 2)])

    def break_off(_share: float) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(ONNX, FP32, progress=break_off)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (None, "does not read the model: Strange: no importer for operation 0"),
        (grey_model(runs=False), "did not build the model: Could not find any implementation"),
        (grey_model(tensors=[IMAGES, IMAGES]), "found 2 inputs"),
        (static_model(2), "takes 2 frames at once"),
        (grey_model(tensors=[replace(IMAGES, shape=(-1, 3, -1, -1))]), "fixed height and width"),
    ],
)
def test_what_cannot_be_built_is_said(ready: Stage, model: Any, words: str) -> None:
    if model is None:
        del ready.trt.models[ONNX]
    else:
        ready.trt.models[ONNX] = model
    with pytest.raises(EngineBuildError, match=words):
        build_engine(ONNX, FP32)


def test_without_a_gpu_it_is_said_before_anything_is_tried(ready: Stage) -> None:
    ready.cuda.fail_at = 0
    with pytest.raises(DetectorError, match="cudaStreamCreateWithFlags"):
        build_engine(ONNX, FP32)
    ready.cuda.fail_at, ready.trt.starts = None, False
    with pytest.raises(EngineBuildError, match="does not start"):
        build_engine(ONNX, FP32)
