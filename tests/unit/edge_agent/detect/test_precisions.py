"""Which file computes in what: int8, fp16 and their pins, on the CPU's runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.detect.detector import detect
from edge_agent.detect.providers import CPU, chain, check_half_on_cpu
from edge_agent.detect.quantised import CHUNK_BYTES, check_quantised, quantised_onnx
from edge_agent.detect.runtimes import runtimes
from edge_agent.detect.tensorrt.probe import Gpu
from edge_agent.errors import BundleError
from protocol.builds import VNNI_FLAGS, BuildIdentity, Capabilities, Format, Precision, match
from tests.fixtures.artifacts import OddModel, load, manifest_for, rows

onnx: Any = pytest.importorskip("onnx", reason="the package onnx is not installed")

SIZE = 64
SEEN = (8.0, 8.0, 40.0, 40.0, 0.75, 1.0)
FRAME = np.full((SIZE, SIZE, 3), 102, np.uint8)
FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


def build(file: Precision, computed: Precision, runtime: str = "onnxruntime") -> BuildIdentity:
    update = {"runtime": runtime, "precision": file, "runtime_precision": computed}
    return manifest_for({"model.onnx": b"", "golden.json": b""}).build.model_copy(update=update)


def quantised_model(shift: float = 0.0) -> bytes:
    """A convolution between QuantizeLinear and DequantizeLinear, its mean onto one confidence.

    The convolution is a static QDQ one, as a quantiser writes it: weights int8, per tensor.
    """
    make, kinds = onnx.helper, onnx.TensorProto
    base = rows(SEEN)
    base[0, 0, 4] = 0.5 + shift
    gain = rows((0, 0, 0, 0, 1, 0))
    constants = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "weights": np.full((1, 3, 1, 1), 42, np.int8),
        "weights.scale": np.float32(1 / 127),
        "weights.zero": np.int8(0),
        "shape": np.array([1, 1, 1], np.int64),
        "base": base,
        "gain": gain,
    }
    nodes = [
        make.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        make.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        make.make_node("DequantizeLinear", ["weights", "weights.scale", "weights.zero"], ["w"]),
        make.make_node("Conv", ["x", "w"], ["y"]),
        make.make_node("QuantizeLinear", ["y", "scale", "zero"], ["yq"]),
        make.make_node("DequantizeLinear", ["yq", "scale", "zero"], ["yd"]),
        make.make_node("ReduceMean", ["yd"], ["mean4"], axes=[1, 2, 3], keepdims=1),
        make.make_node("Reshape", ["mean4", "shape"], ["mean"]),
        make.make_node("Mul", ["mean", "gain"], ["scaled"]),
        make.make_node("Add", ["scaled", "base"], ["output0"]),
    ]
    graph = make.make_graph(
        nodes,
        "quantised",
        [make.make_tensor_value_info("images", kinds.FLOAT, [1, 3, SIZE, SIZE])],
        [make.make_tensor_value_info("output0", kinds.FLOAT, [1, 300, 6])],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def half_model(kind: str) -> bytes:
    """An fp16 network whose input and output are `kind`, "FLOAT16" or "FLOAT"."""
    dtype = np.float16 if kind == "FLOAT16" else np.float32
    shape = (1, 3, SIZE, SIZE)
    return OddModel({"images": (shape, kind)}, {"output0": rows(SEEN, dtype=dtype)}).to_bytes()


def test_a_quantised_file_runs_as_int8_on_the_cpu(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    files = {"model.onnx": quantised_model()}
    detector = load(tmp_path, files, precision=INT8, runtime_precision=INT8)
    # 102 / 255 is 0.4 in each of three channels, each times 42 / 127.
    expected = round(3 * 0.4 * 42 / 127 * 255) / 255 + 0.5
    found = detect(detector, FRAME)
    assert found.confidences.tolist() == [pytest.approx(expected, abs=1e-5)]
    assert found.class_ids.tolist() == [1]
    detector.close()


@pytest.mark.parametrize(
    ("quantised", "file", "computed", "what"),
    [
        (False, FP32, INT8, "fp32 file in floats, not in int8; quantise it first"),
        (True, INT8, FP32, "quantised layers of an int8 file in int8, not in fp32; evaluate"),
        (False, INT8, INT8, "has no quantised layer and its manifest says int8; build"),
        (True, FP32, FP32, "has quantised layers and its manifest says fp32; build"),
        (False, FP16, INT8, "fp16 file in floats, not in int8"),
    ],
)
def test_what_a_build_says_of_int8_is_held_against_its_file(
    tmp_path: Path, quantised: bool, file: Precision, computed: Precision, what: str
) -> None:
    pytest.importorskip("onnxruntime")
    data = quantised_model() if quantised else OddModel().to_bytes()
    with pytest.raises(BundleError, match=what):
        load(tmp_path, {"model.onnx": data}, precision=file, runtime_precision=computed)


def test_the_float_builds_are_none_of_its_business() -> None:
    for file, computed in ((FP32, FP32), (FP32, BF16), (FP16, FP32), (FP16, FP16)):
        check_quantised(build(file, computed), "model.onnx", quantised=False)
    assert chain(build(INT8, INT8), None, {}) == [(CPU, {})]


@pytest.mark.parametrize("kind", ["FLOAT16", "FLOAT"])
def test_a_half_file_is_widened_by_the_cpu(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("onnxruntime")
    detector = load(tmp_path, {"model.onnx": half_model(kind)}, precision=FP16)
    found = detect(detector, FRAME)
    assert found.confidences.tolist() == [0.75]
    assert found.confidences.dtype == found.boxes.dtype == np.float32
    detector.close()


def test_a_half_file_is_refused_where_arm_would_compute_in_half() -> None:
    check_half_on_cpu(build(FP16, FP32), ("avx2", "avx512_fp16"))
    check_half_on_cpu(build(FP32, FP32), ("asimd", "asimdhp"))
    with pytest.raises(BundleError, match="fp16 on this CPU, not in fp32; send this device"):
        check_half_on_cpu(build(FP16, FP32), ("asimd", "asimdhp"))


def test_quantised_nodes_are_found_wherever_a_chunk_ends(tmp_path: Path) -> None:
    path, node = tmp_path / "model.onnx", b'"\x0eQuantizeLinear'
    for at in range(CHUNK_BYTES - len(node) - 1, CHUNK_BYTES + 2):
        path.write_bytes(bytes(at) + node + bytes(9))
        assert quantised_onnx(path), at
    for other in (b"QuantizeLinear", b'"\x10DequantizeLinear', b'"\x0eQuantizeLinea', b""):
        path.write_bytes(bytes(9) + other + bytes(9))
        assert not quantised_onnx(path)


def test_onnx_runtime_says_that_it_computes_int8_and_the_cpus_flags_still_decide() -> None:
    pytest.importorskip("onnxruntime")
    quantised = build(INT8, INT8).model_copy(update={"cpu_flags_any": VNNI_FLAGS})
    for flags, fits in (((), False), (("avx2",), False), (("asimddp",), True)):
        found = runtimes(flags, Gpu())
        [capability] = [r for r in found if r.runtime == "onnxruntime"]
        assert set(capability.precisions) == {FP32, INT8}
        device = Capabilities(architecture="any", runtimes=found, cpu_flags=flags)
        assert match(quantised, device).fits is fits


def openvino_files(folder: Path, data: bytes, half: bool) -> dict[str, bytes]:
    openvino: Any = pytest.importorskip("openvino", reason="openvino is an extra")
    folder.mkdir()
    (folder / "model.onnx").write_bytes(data)
    network = openvino.Core().read_model(str(folder / "model.onnx"))
    openvino.save_model(network, str(folder / "to.xml"), compress_to_fp16=half)
    return {f"model.{kind}": (folder / f"to.{kind}").read_bytes() for kind in ("xml", "bin")}


def test_openvino_runs_int8_and_files_of_fp16_weights(tmp_path: Path) -> None:
    build_of: dict[str, Any] = {"format": Format.OPENVINO, "runtime": "openvino"}
    quantised = openvino_files(tmp_path / "a", quantised_model(), half=False)
    detector = load(tmp_path / "i", quantised, precision=INT8, runtime_precision=INT8, **build_of)
    expected = 3 * 0.4 * 42 / 127 + 0.5
    assert detect(detector, FRAME).confidences.tolist() == [pytest.approx(expected, abs=2 / 255)]
    detector.close()
    seeing = OddModel(answers={"output0": rows(SEEN)}).to_bytes()
    compressed = openvino_files(tmp_path / "b", seeing, half=True)
    detector = load(tmp_path / "h", compressed, precision=FP16, **build_of)
    assert detect(detector, FRAME).confidences.tolist() == [0.75]
    detector.close()


def test_openvino_is_held_to_what_the_build_says_of_int8(tmp_path: Path) -> None:
    build_of: dict[str, Any] = {"format": Format.OPENVINO, "runtime": "openvino"}
    quantised = openvino_files(tmp_path / "a", quantised_model(), half=False)
    plain = openvino_files(tmp_path / "b", OddModel().to_bytes(), half=False)
    for files, file, computed, what in (
        (plain, FP32, INT8, "fp32 file in floats"),
        (quantised, INT8, BF16, "not in bf16"),
        (plain, INT8, INT8, "no quantised layer"),
        (quantised, FP32, FP32, "has quantised layers"),
    ):
        with pytest.raises(BundleError, match=what):
            load(tmp_path / "c", files, precision=file, runtime_precision=computed, **build_of)
