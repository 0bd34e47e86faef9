"""The agent sees what Ultralytics' own prediction with the same file sees, on every backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.runtimes import openvino_precisions
from edge_agent.observe.hardware import capabilities
from protocol.builds import Precision
from tests.benchmarks import reference
from tests.benchmarks.same_answers import (
    BACKENDS,
    PHOTOGRAPH_CONFIDENCE,
    Agreement,
    Artifacts,
    agent_answers,
    agreement,
    figures,
    photographs,
)

BOX_TOLERANCE_PX = 0.5
CONFIDENCE_TOLERANCE = 1e-3
ACCURACY_TOLERANCE = 1e-3
# Of a precision's mAP against fp32's, for it to be worth evaluating at all.
PRECISION_COST_MAX = 0.01
QUICK_IMAGES = 24


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> Path:
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("ultralytics is not installed; it never is on a device")
    return shared_data / "weights" / "yolo26n-reconstructed.pt"


@pytest.fixture(scope="module")
def artifacts(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return Artifacts(weights, tmp_path_factory.mktemp("exports"))


def test_photographs_have_the_same_answers(weights: Path) -> None:
    path = weights.with_name("yolo26n-reconstructed-e2e-640.onnx")
    backend, paths = BACKENDS["onnxruntime fp32, end-to-end head"], photographs()[:QUICK_IMAGES]
    ours = agent_answers(backend, {"model.onnx": path.read_bytes()}, paths)
    found = agreement(ours, reference.predict(path, paths), PHOTOGRAPH_CONFIDENCE)
    assert found.objects > 50
    _assert_same(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_answers_and_scores_as_ultralytics_does(
    name: str, artifacts: Artifacts, tmp_path: Path
) -> None:
    backend = BACKENDS[name]
    if backend.runtime == "openvino":
        pytest.importorskip("openvino", reason="openvino is an extra")
    bf16 = Precision.BF16 in openvino_precisions(capabilities().cpu_flags)
    if backend.precision == "bf16" and not bf16:
        pytest.skip("this CPU does not compute in bf16")
    found = figures(name, artifacts, tmp_path)
    for images in ("photographs", "boards"):
        assert found[images]["objects"] > 500
        _assert_same(Agreement(**found[images]))
    whole = found.get("ultralytics_val_one_class_an_anchor", found["ultralytics_val"])
    for theirs in (whole, found["ultralytics_predict"]):
        _assert_close(found["accuracy"], theirs, ACCURACY_TOLERANCE)
    if backend.precision != "f32":
        _assert_close(found["accuracy"], found["accuracy_fp32"], PRECISION_COST_MAX)
        assert found["against_fp32"]["confidence_max"] > CONFIDENCE_TOLERANCE


def test_answers_that_differ_are_told_apart() -> None:
    def rows(*found: tuple[float, ...]) -> Any:
        return np.array(found, np.float32).reshape(-1, 6)

    one = rows((10, 10, 50, 50, 0.9, 1), (10, 10, 50, 50, 0.4, 2))
    moved = rows((12, 10, 50, 50, 0.8, 1), (10, 10, 50, 50, 0.2, 2))
    assert agreement([one], [one], 0.25) == Agreement(1, 2, 0, 0, 0.0, 0.0)
    found = agreement([moved], [one], 0.25)
    assert (found.objects, found.unpaired, found.crossed) == (2, 0, 1)
    assert found.box_px_max == 2.0
    assert found.confidence_max == pytest.approx(0.2)
    assert agreement([rows()], [one], 0.25).unpaired == 2
    assert agreement([one], [rows()], 0.25).unpaired == 2
    assert agreement([rows((10, 10, 50, 50, 0.9, 3))], [one[:1]], 0.25).unpaired == 2


def _assert_same(found: Agreement) -> None:
    assert (found.unpaired, found.crossed) == (0, 0)
    assert found.box_px_max <= BOX_TOLERANCE_PX
    assert found.confidence_max <= CONFIDENCE_TOLERANCE


def _assert_close(one: dict[str, float], other: dict[str, float], tolerance: float) -> None:
    assert one == pytest.approx(other, abs=tolerance)
