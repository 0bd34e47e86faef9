"""What ONNX Runtime's providers are told; that a GPU then obeys is tested where there is one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_agent.detect.network import Answers, Network
from edge_agent.detect.onnx import BoundOnnxNetwork, OnnxNetwork, open_session, signature_of
from edge_agent.detect.providers import CPU, CUDA, TENSORRT, TF32_VARIABLE, chain
from edge_agent.detect.signature import bind
from edge_agent.errors import BundleError, DetectorError
from protocol.builds import BuildIdentity, Precision
from tests.fixtures.artifacts import OddModel, load, manifest_for, rows
from tests.fixtures.models import confidence, model_bytes
from tests.fixtures.seeing import manifest

NO_TF32 = {TF32_VARIABLE: "0"}


def build(runtime: str, precision: Precision, file: Precision = Precision.FP32) -> BuildIdentity:
    update = {"runtime": runtime, "runtime_precision": precision, "precision": file}
    return manifest().build.model_copy(update=update)


def test_the_cpu_needs_no_options() -> None:
    assert chain(build("onnxruntime", Precision.FP32), Path("cache"), {}) == [(CPU, {})]


def test_cuda_computes_fp32_without_tf32_and_leaves_the_rest_to_the_cpu() -> None:
    (cuda, options), rest = chain(build("onnxruntime-cuda", Precision.FP32), None, {})
    assert (cuda, options["use_tf32"], rest) == (CUDA, 0, (CPU, {}))


def test_cuda_computes_fp16_only_from_a_file_of_fp16() -> None:
    half = build("onnxruntime-cuda", Precision.FP16, Precision.FP16)
    assert chain(half, None, {})[0][0] == CUDA
    with pytest.raises(BundleError, match="computes a fp32 file in fp32; export"):
        chain(build("onnxruntime-cuda", Precision.FP16), None, {})


@pytest.mark.parametrize(
    ("precision", "half", "brain"),
    [
        (Precision.FP32, False, None),
        (Precision.FP16, True, None),
        (Precision.BF16, False, True),
    ],
)
def test_tensorrt_computes_in_the_builds_precision(
    precision: Precision, half: bool, brain: bool | None
) -> None:
    chosen = chain(build("onnxruntime-tensorrt", precision), Path("engines"), NO_TF32)
    assert [name for name, _ in chosen] == [TENSORRT, CUDA, CPU]
    options = chosen[0][1]
    assert options["trt_fp16_enable"] is half
    assert options.get("trt_bf16_enable") is brain
    assert options["trt_int8_enable"] is False
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == "engines"
    without = chain(build("onnxruntime-tensorrt", precision), None, NO_TF32)[0][1]
    assert not any("cache" in name for name in without)


def test_tensorrt_is_refused_where_fp32_would_be_tf32() -> None:
    with pytest.raises(DetectorError, match="set NVIDIA_TF32_OVERRIDE=0"):
        chain(build("onnxruntime-tensorrt", Precision.FP32), None, {})
    assert chain(build("onnxruntime-tensorrt", Precision.FP16), None, {})


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [
        ("onnxruntime", Precision.FP16),
        ("onnxruntime", Precision.BF16),
        ("onnxruntime-cuda", Precision.BF16),
        ("onnxruntime-tensorrt", Precision.INT8),
    ],
)
def test_a_precision_that_cannot_be_held_is_refused(runtime: str, precision: Precision) -> None:
    with pytest.raises(BundleError, match=f"cannot be held to {precision.value}"):
        chain(build(runtime, precision), None, NO_TF32)


def test_a_provider_that_is_not_there_is_named_with_its_remedy(tmp_path: Path) -> None:
    onnxruntime: Any = pytest.importorskip("onnxruntime")
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the CUDA provider")
    with pytest.raises(DetectorError, match=r"no CUDAExecutionProvider; install argosy\[edge-cuda"):
        load(tmp_path, {"model.onnx": OddModel().to_bytes()}, runtime="onnxruntime-cuda")


def test_a_quiet_fall_back_to_the_cpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime: Any = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(OddModel().to_bytes())
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    fallen = SimpleNamespace(get_providers=lambda: [CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: fallen)
    with pytest.raises(DetectorError, match=r"CUDAExecutionProvider did not start.*driver"):
        open_session(path, 1, [(CUDA, {}), (CPU, {})])


def output(network: Network, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a network answers."""
    found: list[npt.NDArray[Any]] = []

    def read(answer: npt.NDArray[Any]) -> Answers:
        found.append(answer.copy())
        return ()

    network.run(tensor, read)
    return found[0]


def test_a_bound_session_answers_as_a_plain_one(tmp_path: Path) -> None:
    """The GPU's way of running, on the CPU's memory."""
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    shape = ("batch", 3, 64, 64)
    model = OddModel({"images": (shape, "FLOAT")}, {"a": rows((1, 2, 3, 4, 0.5, 1))})
    path.write_bytes(model.to_bytes())
    session = open_session(path, 1, [(CPU, {})])
    described = manifest_for({"model.onnx": b"", "golden.json": b""}, batch=2)
    binding = bind(signature_of("model.onnx", session), described)
    plain = OnnxNetwork("model.onnx", session, binding)
    bound = BoundOnnxNetwork("model.onnx", session, binding, device="cpu")
    for frames in (1, 2, 1):
        tensor = np.full((frames, 3, 64, 64), frames, np.float32)
        assert (output(bound, tensor) == output(plain, tensor)).all()
    bound.close()


def test_a_bound_session_reads_every_new_input(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(model_bytes(1, 64))
    session = open_session(path, 1, [(CPU, {})])
    described = manifest_for({"model.onnx": b"", "golden.json": b""})
    binding = bind(signature_of("model.onnx", session), described)
    bound = BoundOnnxNetwork("model.onnx", session, binding, device="cpu")
    for mean in (0.0, 0.5, 1.0):
        answer = output(bound, np.full((1, 3, 64, 64), mean, np.float32))
        assert float(answer[0, 0, 4]) == pytest.approx(confidence(1, mean), abs=1e-6)
