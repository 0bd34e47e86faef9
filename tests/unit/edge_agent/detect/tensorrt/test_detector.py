from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.detector import Detector, detect
from edge_agent.detect.tensorrt.engine_file import EngineMetadata
from edge_agent.detect.tensorrt.network import SIZES_WARMED_MAX
from edge_agent.errors import BundleError, DetectorError, EdgeError
from tests.unit.edge_agent.detect.tensorrt.simulated_tensorrt import SURFACES
from tests.unit.edge_agent.detect.tensorrt.stage import (
    BOX,
    IMAGES,
    PLAN,
    ROWS,
    Stage,
    brightness_of,
    grey,
    grey_model,
    static_model,
)


def seen(detector: Detector, levels: Sequence[int]) -> list[float]:
    """How sure the model is of each grey image."""
    found = detector.infer(detector.prepare([grey(level) for level in levels]))
    assert all(len(d) == 1 for d in found)
    return [float(d.confidences[0]) for d in found]


@pytest.mark.parametrize("version", SURFACES)
def test_batches_of_every_size_are_answered_frame_by_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    detector = Stage(tmp_path, monkeypatch, version).open()
    assert detector.batch_max == 4
    for levels in ((51,), (51, 102), (204, 153, 102), (51, 102, 153, 204), (255,), (102, 51)):
        assert seen(detector, levels) == pytest.approx([level / 255 for level in levels])
    found = detect(detector, grey(255))
    assert found.boxes.tolist() == [list(BOX)]


def test_each_size_is_recorded_before_the_first_frame_and_then_launched(stage: Stage) -> None:
    detector = stage.open()
    assert stage.cuda.calls.count("cudaStreamBeginCapture") == 4
    for _ in range(3):
        seen(detector, (51,))
        seen(detector, (51, 102))
    assert stage.cuda.calls.count("cudaStreamBeginCapture") == 4
    assert stage.cuda.launches == 6
    assert stage.trt.contexts_alive == 4


def test_beyond_the_warmed_sizes_a_batch_is_recorded_when_it_first_comes(stage: Stage) -> None:
    stage.trt.models[PLAN] = grey_model(profile=(1, 18))
    detector = stage.open(batch=18)
    assert stage.trt.contexts_alive == SIZES_WARMED_MAX
    for _ in range(2):
        assert seen(detector, (51,) * 18) == pytest.approx([0.2] * 18)
    assert stage.trt.contexts_alive == SIZES_WARMED_MAX + 1
    assert stage.cuda.launches == 2


def test_what_cannot_be_recorded_is_run_without(stage: Stage) -> None:
    stage.trt.models[PLAN] = grey_model(capturable=False)
    detector = stage.open()
    for level in (51, 102):
        assert seen(detector, (level, 255)) == pytest.approx([level / 255, 1])
    assert stage.cuda.launches == 0


def test_on_a_dla_recording_is_not_even_tried(stage: Stage) -> None:
    detector = stage.open(EngineMetadata(dla=1))
    assert stage.trt.seen["DLA_core"] == 1
    assert seen(detector, (51, 255)) == pytest.approx([0.2, 1])
    assert "cudaStreamBeginCapture" not in stage.cuda.calls


def test_a_static_batch_runs_whole_and_answers_the_frames_that_were_given(stage: Stage) -> None:
    stage.trt.models[PLAN] = static_model(3)
    detector = stage.open(batch=3)
    assert detector.batch_max == 3
    assert seen(detector, (51,)) == pytest.approx([0.2])
    assert seen(detector, (51, 102, 153)) == pytest.approx([0.2, 0.4, 0.6])
    assert stage.trt.contexts_alive == 1


def test_frames_lie_in_pinned_memory_that_serves_again(stage: Stage) -> None:
    detector = stage.open()
    first = detector.prepare([grey(51)])
    address = first.memory.array.ctypes.data
    assert address in stage.cuda.memory
    again = detector.prepare([grey(102)], first)
    assert again.memory.array.ctypes.data == address


def test_half_precision_and_other_outputs_beside_the_answer(stage: Stage) -> None:
    masks = replace(ROWS, name="masks", shape=(-1, 8), dtype="INT32")
    halves = [replace(t, dtype="HALF") for t in (IMAGES, ROWS)]
    stage.trt.models[PLAN] = grey_model(tensors=[*halves, masks])
    assert seen(stage.open(), (51, 102)) == pytest.approx([0.2, 0.4], abs=1e-3)


def test_after_closing_nothing_is_held_and_frames_in_flight_are_safe(stage: Stage) -> None:
    detector = stage.open()
    prepared = detector.prepare([grey(51)])
    detector.infer(prepared)
    detector.close()
    detector.close()
    assert not stage.trt.engine_went_first
    gc.collect()
    assert stage.cuda.held == 1, "the frames' own memory"
    assert prepared.tensor.mean() == pytest.approx(0.2)
    with pytest.raises(DetectorError, match="closed"):
        detector.infer(prepared)
    del prepared
    gc.collect()
    assert (stage.cuda.held, stage.trt.contexts_alive) == (0, 0)
    assert not stage.cuda.freed_under_way


def test_wherever_opening_fails_nothing_is_left(stage: Stage) -> None:
    stage.open(batch=2).close()
    calls, refused = len(stage.cuda.calls), 0
    for number in range(calls):
        stage.cuda.calls.clear()
        stage.cuda.fail_at = number
        try:
            stage.open(batch=2).close()
        except DetectorError as error:
            refused += 1
            assert "out of memory" in str(error)
        gc.collect()
        assert (stage.cuda.held, stage.trt.contexts_alive) == (0, 0), stage.cuda.calls
        assert not stage.cuda.freed_under_way, stage.cuda.calls
    assert 10 <= refused < calls, "graphs and releases may fail, nothing else"


def test_wherever_running_fails_it_is_said_and_the_next_run_is_good(stage: Stage) -> None:
    detector = stage.open()
    prepared = detector.prepare([grey(51)])
    for number, call in enumerate(("cudaMemcpyAsync", "cudaGraphLaunch", "cudaStreamSynchronize")):
        stage.cuda.fail_at = len(stage.cuda.calls) + number
        with pytest.raises(DetectorError, match=f"{call}: out of memory"):
            detector.infer(prepared)
        stage.cuda.fail_at = None
        assert detector.infer(prepared)[0].confidences == pytest.approx([0.2])


def test_what_tensorrt_says_is_in_the_error(stage: Stage) -> None:
    stage.trt.models[PLAN] = grey_model(runs=False)
    with pytest.raises(DetectorError, match="illegal memory access"):
        stage.open()
    del stage.trt.models[PLAN]
    with pytest.raises(DetectorError, match="magic tag"):
        stage.open()
    stage.trt.starts = False
    with pytest.raises(DetectorError, match="does not start"):
        stage.open()
    gc.collect()
    assert stage.cuda.held == 0


def test_an_answer_that_is_no_number_is_refused(stage: Stage) -> None:
    stage.trt.models[PLAN] = grey_model(compute=lambda images: brightness_of(images) * np.nan)
    with pytest.raises(DetectorError, match="NaN"):
        detect(stage.open(), grey(1))


@pytest.mark.parametrize(
    ("metadata", "changes", "error", "words"),
    [
        (EngineMetadata(tensorrt_version="10.3.0"), {}, DetectorError, "of TensorRT 10.3.0"),
        (EngineMetadata(tensorrt_version="ten"), {}, DetectorError, "no version"),
        (EngineMetadata(), {"tensorrt_version": "11.0.0.114"}, DetectorError, "has 11.4.0.106"),
        (EngineMetadata(task="segment"), {}, DetectorError, "segment"),
        (EngineMetadata(stride=48), {}, BundleError, "stride 48"),
        (EngineMetadata(names={0: "a", 1: "b"}), {}, BundleError, "'a'"),
        (EngineMetadata(names={3: "a"}), {}, DetectorError, "class names"),
        (EngineMetadata(), {"input_width": 128}, BundleError, "export it again"),
        (EngineMetadata(), {"head": "raw"}, BundleError, "head"),
        (EngineMetadata(), {"batch": 8}, DetectorError, "takes 4 frames at most"),
    ],
)
def test_an_engine_that_is_not_the_manifests_is_refused(
    stage: Stage,
    metadata: EngineMetadata,
    changes: dict[str, Any],
    error: type[EdgeError],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        stage.open(metadata, **{"batch": 4, **changes})
    gc.collect()
    assert stage.cuda.held == 0


def test_a_profile_that_starts_above_one_frame_is_refused(stage: Stage) -> None:
    stage.trt.models[PLAN] = grey_model(profile=(2, 4))
    with pytest.raises(DetectorError, match="2 frames at least"):
        stage.open()


@pytest.mark.parametrize("module", ["tensorrt", "cuda.bindings"])
def test_a_missing_library_is_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DetectorError, match=r"install argosy\[edge-tensorrt\]"):
        stage.open()
    assert stage.cuda.held == 0
