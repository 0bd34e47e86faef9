"""What a target's name says."""

from __future__ import annotations

import pytest

from cloud.building.targets import CPU_NAMES, NAMES, parse
from cloud.errors import InvalidError
from protocol.builds import ARM_HALF_FLAGS, VNNI_FLAGS, Format, Precision


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("onnx-fp32", (640, 640, 1)),
        ("onnx-fp32@320", (320, 320, 1)),
        ("openvino-int8@320x4", (320, 320, 4)),
        ("openvino-int8@640x384", (640, 384, 1)),
        ("openvino-int8@640x384x64", (640, 384, 64)),
        ("openvino-int8@320x31", (320, 320, 31)),
    ],
)
def test_numbers_are_sides_and_then_a_batch(text: str, size: tuple[int, int, int]) -> None:
    target = parse(text, 640)
    assert (target.width, target.height, target.batch) == size
    assert parse(str(target), 32) == target


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_build(name: str) -> None:
    target = parse(name, 640)
    build = target.identity(17)
    assert (build.runtime, build.format) == (target.runtime, target.format)
    assert build.opset == (17 if target.format is Format.ONNX else None)
    assert target.on_cpu == (target.runtime in ("onnxruntime", "openvino"))


def test_labels_of_the_cpu_targets_differ() -> None:
    labels = {parse(name, 640).identity(17).label() for name in CPU_NAMES}
    assert len(labels) == len(CPU_NAMES) == 7


def test_only_int8_wants_certain_cpus() -> None:
    wanting = {n for n in NAMES if parse(n, 640).cpu_flags_any}
    assert wanting == {"onnx-int8", "openvino-int8"}
    assert parse("onnx-int8", 640).identity(17).cpu_flags_any == VNNI_FLAGS
    assert parse("onnx-int8", 640).identity(17).cpu_flags_none is None
    assert parse("onnx-fp32", 640).identity(17).cpu_flags_any is None


def test_only_half_by_onnx_runtime_shuns_certain_cpus() -> None:
    shunning = {n for n in NAMES if parse(n, 640).cpu_flags_none}
    assert shunning == {"onnx-fp16"}
    assert parse("onnx-fp16", 640).identity(17).cpu_flags_none == ARM_HALF_FLAGS


def test_a_runtime_that_widens_computes_in_fp32() -> None:
    half, brain = parse("onnx-fp16", 640), parse("openvino-bf16", 640)
    assert (half.precision, half.runtime_precision) == (Precision.FP16, Precision.FP32)
    assert (brain.precision, brain.runtime_precision) == (Precision.FP32, Precision.BF16)


def test_an_unknown_target_lists_those_there_are() -> None:
    with pytest.raises(InvalidError) as refused:
        parse("coreml-fp16", 640)
    assert all(name in refused.value.remedy for name in NAMES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("onnx-fp32@100000", "side of 100000 px; take a multiple of 32 from 32 to 8192"),
        ("onnx-fp32@320x320x1000000", "batch of 1000000; take at most 256"),
        ("onnx-fp32@8192x8192x256", "takes 192.0 GiB at once; take a smaller side or batch"),
        ("onnx-fp32@8192x8192x2", "takes 1.5 GiB at once"),
        ("onnx-fp32@", "says no size"),
        ("onnx-fp32@a", "says no size"),
        ("onnx-fp32@-320", "says no size"),
        ("onnx-fp32@320x320x1x1", "says no size"),
        ("onnx-fp32@300", "a side of 300 px"),
        ("onnx-fp32@640x100", "a side of 100 px"),
        ("onnx-fp32@99968", "a side of 99968 px"),
        ("onnx-fp32@320x320x257", "a batch of 257"),
    ],
)
def test_other_sizes_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        parse(text, 640)
