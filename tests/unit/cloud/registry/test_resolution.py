"""Which build goes to which device, over device classes that exist, and what always holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.registry.resolution import BuildOffer, Resolution, resolve, resolve_unheard
from protocol.builds import (
    ARM_HALF_FLAGS,
    VNNI_FLAGS,
    BuildIdentity,
    Capabilities,
    Format,
    Precision,
    RuntimeCapability,
)

F32, F16, BF16, I8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8
AVX512 = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")


def ort(version: str, opset: int) -> RuntimeCapability:
    return RuntimeCapability(
        runtime="onnxruntime", version=version, formats=(Format.ONNX,), precisions=(F32, I8),
        opset_max=opset,
    )  # fmt: skip


def cuda(version: str = "1.23.2", opset: int = 23) -> tuple[RuntimeCapability, ...]:
    return (
        ort(version, opset),
        RuntimeCapability(
            runtime="onnxruntime-cuda", version=version, formats=(Format.ONNX,),
            precisions=(F32, F16), opset_max=opset,
        ),
        RuntimeCapability(
            runtime="onnxruntime-tensorrt", version=version, formats=(Format.ONNX,),
            precisions=(F32, F16, BF16), opset_max=opset,
        ),
    )  # fmt: skip


def native(version: str, *, bf16: bool = True) -> RuntimeCapability:
    precisions = (F32, F16, I8, BF16) if bf16 else (F32, F16, I8)
    return RuntimeCapability(
        runtime="tensorrt", version=version, formats=(Format.TENSORRT,), precisions=precisions
    )


def openvino(*more: Precision) -> RuntimeCapability:
    return RuntimeCapability(
        runtime="openvino", version="2026.1.0", formats=(Format.OPENVINO,),
        precisions=(F32, I8, *more),
    )  # fmt: skip


ORIN_JP6 = Capabilities(
    architecture="aarch64",
    runtimes=(ort("1.23.2", 23), native("10.3.0")),
    memory_bytes=8 * 2**30,
    cpu_flags=("fp", "asimd", "asimdhp", "asimddp"),
    gpu_name="Orin",
    compute_capability="8.7",
    tensorrt_version="10.3.0",
)
"""Jetson Orin Nano, JetPack 6: Python 3.10, so ONNX Runtime 1.23 of the index, CPU only."""

ORIN_JP7 = ORIN_JP6.model_copy(
    update={
        "runtimes": (ort("1.31.0", 26), native("10.13.3")),
        "tensorrt_version": "10.13.3",
    }
)
XAVIER_NX = Capabilities(
    architecture="aarch64",
    runtimes=(ort("1.23.2", 23),),
    memory_bytes=8 * 2**30,
    cpu_flags=("fp", "asimd", "asimdhp"),
    gpu_name="Xavier",
    compute_capability="7.2",
)
"""JetPack 5 has TensorRT 8.5, which the native runtime does not drive: its CPU is left. Carmel
has no dot product of int8 either."""

T4 = Capabilities(
    architecture="x86_64", runtimes=(*cuda(), native("10.16.1", bf16=False)),
    cpu_flags=("avx2",), gpu_name="Tesla T4", compute_capability="7.5", tensorrt_version="10.16.1",
)  # fmt: skip
L4 = Capabilities(
    architecture="x86_64", runtimes=(*cuda(), native("10.16.1")),
    cpu_flags=AVX512, gpu_name="NVIDIA L4", compute_capability="8.9", tensorrt_version="10.16.1",
)  # fmt: skip
RTX_4070 = L4.model_copy(update={"gpu_name": "NVIDIA GeForce RTX 4070"})
RTX_5090 = L4.model_copy(
    update={"gpu_name": "NVIDIA GeForce RTX 5090", "compute_capability": "12.0"}
)
CUDA_ONLY = RTX_4070.model_copy(update={"runtimes": cuda(), "tensorrt_version": None})
X86_PLAIN = Capabilities(
    architecture="x86_64", runtimes=(ort("1.31.0", 26), openvino()), cpu_flags=("sse4_2", "avx2")
)
X86_VNNI = X86_PLAIN.model_copy(update={"cpu_flags": ("avx2", "avx_vnni")})
X86_BF16 = X86_PLAIN.model_copy(
    update={"runtimes": (ort("1.31.0", 26), openvino(BF16)), "cpu_flags": AVX512}
)
X86_ORT = X86_PLAIN.model_copy(update={"runtimes": (ort("1.31.0", 26),)})
X86_ORT_VNNI = X86_ORT.model_copy(update={"cpu_flags": AVX512})
OLD_ORT = X86_ORT.model_copy(update={"runtimes": (ort("1.14.0", 18),)})
NOTHING = Capabilities(architecture="riscv64", runtimes=())


def offer(
    name: str, runtime: str, computed: Precision, latency_ms: float | None, **values: Any
) -> BuildOffer:
    """A build whose digest is its name."""
    fmt = {"openvino": Format.OPENVINO, "tensorrt": Format.TENSORRT}.get(runtime, Format.ONNX)
    given = {
        "format": fmt,
        "precision": computed,
        "runtime": runtime,
        "runtime_precision": computed,
        "input_width": 640,
        "input_height": 640,
        "opset": None if fmt is Format.TENSORRT else 19,
        "cpu_flags_any": VNNI_FLAGS if computed is I8 else (),
    }
    identity = BuildIdentity.model_validate({**given, **values})
    return BuildOffer(name, identity, latency_ms=latency_ms, map50=0.6)


def engine(name: str, capability: str, tensorrt: str) -> BuildOffer:
    return offer(
        name, "tensorrt", F16, None, compute_capability=capability, tensorrt_version=tensorrt,
        cpu_flags_any=(),
    )  # fmt: skip


MATRIX = (
    offer("ort-fp32", "onnxruntime", F32, 18.5),
    offer("ort-int8", "onnxruntime", I8, 14.0),
    offer("ov-fp32", "openvino", F32, 19.2),
    offer("ov-bf16", "openvino", BF16, 12.3, precision=F32),
    offer("ov-int8", "openvino", I8, 12.8),
    offer("cuda-fp32", "onnxruntime-cuda", F32, None),
    offer("cuda-fp16", "onnxruntime-cuda", F16, None),
    engine("trt-orin", "8.7", "10.3.0"),
    engine("trt-ada", "8.9", "10.16.1"),
    engine("trt-turing", "7.5", "10.16.1"),
)


@pytest.mark.parametrize(
    ("device", "best", "fallbacks"),
    [
        pytest.param(ORIN_JP6, "trt-orin", ("ort-int8", "ort-fp32"), id="Orin Nano JetPack 6"),
        # Its plan is of another TensorRT; a plan is never taken along.
        pytest.param(ORIN_JP7, "ort-int8", ("ort-fp32",), id="Orin Nano JetPack 7"),
        pytest.param(XAVIER_NX, "ort-fp32", (), id="Xavier NX JetPack 5"),
        pytest.param(T4, "trt-turing", ("cuda-fp16", "cuda-fp32", "ort-fp32"), id="T4"),
        pytest.param(L4, "trt-ada", ("cuda-fp16", "cuda-fp32", "ort-int8", "ort-fp32"), id="L4"),
        pytest.param(
            RTX_4070, "trt-ada", ("cuda-fp16", "cuda-fp32", "ort-int8", "ort-fp32"), id="RTX 4070"
        ),
        pytest.param(RTX_5090, "cuda-fp16", ("cuda-fp32", "ort-int8", "ort-fp32"), id="RTX 5090"),
        pytest.param(
            CUDA_ONLY, "cuda-fp16", ("cuda-fp32", "ort-int8", "ort-fp32"), id="no TensorRT"
        ),
        pytest.param(X86_PLAIN, "ort-fp32", ("ov-fp32",), id="x86"),
        pytest.param(X86_VNNI, "ov-int8", ("ort-int8", "ort-fp32", "ov-fp32"), id="x86 with VNNI"),
        pytest.param(
            X86_BF16, "ov-bf16", ("ov-int8", "ort-int8", "ort-fp32", "ov-fp32"), id="x86 with bf16"
        ),
        pytest.param(X86_ORT, "ort-fp32", (), id="x86 without OpenVINO"),
        pytest.param(X86_ORT_VNNI, "ort-int8", ("ort-fp32",), id="VNNI without OpenVINO"),
        pytest.param(OLD_ORT, None, (), id="old ONNX Runtime"),
        pytest.param(NOTHING, None, (), id="nothing"),
    ],
)
def test_device_classes(device: Capabilities, best: str | None, fallbacks: tuple[str, ...]) -> None:
    found = resolve(MATRIX, device)
    assert (found.best, found.fallbacks) == (best, fallbacks)
    assert len(found.refused) + len(found.fallbacks) + (best is not None) == len(MATRIX)
    assert all(found.refused.values())
    assert found.reason


def test_the_reasons_are_said() -> None:
    refused = resolve(MATRIX, XAVIER_NX).refused
    assert "one of avx512_vnni, avx_vnni, asimddp" in refused["ort-int8"][0]
    assert refused["ov-fp32"] == ("needs the runtime openvino; the device has onnxruntime",)
    assert "engine for compute capability 8.9" in resolve(MATRIX, RTX_5090).refused["trt-ada"][0]
    assert "engine of TensorRT 10.3.0" in resolve(MATRIX, ORIN_JP7).refused["trt-orin"][0]
    assert "opset 19" in resolve(MATRIX, OLD_ORT).reason
    assert resolve((), X86_PLAIN) == Resolution(None, (), {}, "there is no build")


def test_half_by_onnx_runtime_goes_only_where_it_is_widened() -> None:
    half = offer("ort-fp16", "onnxruntime", F32, 10.0, precision=F16, cpu_flags_none=ARM_HALF_FLAGS)
    builds = (half, MATRIX[0])
    assert resolve(builds, X86_PLAIN).best == "ort-fp16"
    found = resolve(builds, ORIN_JP6)
    assert (found.best, found.fallbacks) == ("ort-fp32", ())
    assert found.refused["ort-fp16"] == ("does not compute in fp32 on a CPU with asimdhp",)
    assert resolve_unheard(builds).best == "ort-fp32"


def test_rejected_and_revoked_builds_are_given_to_nobody() -> None:
    identity = MATRIX[0].identity
    offers = [
        BuildOffer("a", identity, admitted=False),
        BuildOffer("b", identity, revoked=True),
        BuildOffer("c", identity, bundle_format=2),
    ]
    found = resolve(offers, X86_PLAIN)
    assert found.best is None
    assert found.refused == {
        "a": ("is rejected",),
        "b": ("is revoked by the model's floor",),
        "c": ("comes in bundle format 2; the device reads up to 1",),
    }
    assert resolve_unheard(offers[:2]).best is None


def test_ties_go_to_the_better_build_then_to_the_lower_digest() -> None:
    identity = MATRIX[0].identity
    offers = [
        BuildOffer(digest, identity, latency_ms=5.0, map50=map50)
        for digest, map50 in (("b", 0.5), ("a", 0.5), ("c", 0.6))
    ]
    found = resolve(offers, X86_PLAIN)
    assert (found.best, found.fallbacks) == ("c", ("a", "b"))


def test_a_device_that_was_never_heard_gets_what_asks_least() -> None:
    assert resolve_unheard(MATRIX).best == "ort-fp32"
    assert resolve_unheard(MATRIX[1:]).best == "ort-int8"


DEVICES: tuple[Capabilities, ...] = (
    ORIN_JP6,
    ORIN_JP7,
    XAVIER_NX,
    T4,
    L4,
    RTX_5090,
    CUDA_ONLY,
    X86_PLAIN,
    X86_VNNI,
)
DEVICES += (X86_BF16, X86_ORT, X86_ORT_VNNI, OLD_ORT, NOTHING)
devices = st.sampled_from(DEVICES)


@st.composite
def offers(draw: st.DrawFn) -> list[BuildOffer]:
    chosen = draw(st.lists(st.sampled_from(MATRIX), unique_by=lambda o: o.digest))
    return [
        BuildOffer(
            o.digest,
            o.identity,
            admitted=draw(st.booleans()),
            revoked=draw(st.booleans()),
            latency_ms=draw(st.none() | st.floats(0.1, 1000)),
            map50=draw(st.none() | st.floats(0, 1)),
            bundle_format=draw(st.integers(1, 2)),
        )
        for o in chosen
    ]


@given(offers(), devices)
def test_a_refused_build_is_never_picked(builds: list[BuildOffer], device: Capabilities) -> None:
    found = resolve(builds, device)
    picked = {d for d in (found.best, *found.fallbacks) if d is not None}
    assert picked.isdisjoint(found.refused)
    assert picked | set(found.refused) == {o.digest for o in builds}
    assert all(o.admitted and not o.revoked for o in builds if o.digest in picked)
    assert found.best is not None or not found.fallbacks


@given(offers(), devices, st.randoms())
def test_the_order_of_builds_changes_nothing(
    builds: list[BuildOffer], device: Capabilities, random: Any
) -> None:
    shuffled = list(builds)
    random.shuffle(shuffled)
    assert resolve(shuffled, device) == resolve(builds, device)
    assert resolve_unheard(shuffled) == resolve_unheard(builds)


@given(offers(), devices, devices, st.booleans())
def test_a_device_that_can_do_more_is_never_left_without(
    builds: list[BuildOffer], device: Capabilities, other: Capabilities, first: bool
) -> None:
    """More runtimes, in either order, more flags of the CPU, a newer bundle format."""
    runtimes = other.runtimes + device.runtimes if first else device.runtimes + other.runtimes
    able = device.model_copy(
        update={
            "runtimes": runtimes,
            "cpu_flags": device.cpu_flags + other.cpu_flags,
            "bundle_format_max": device.bundle_format_max + 1,
        }
    )
    before, after = resolve(builds, device), resolve(builds, able)
    assert set(after.refused) <= set(before.refused)
    assert before.best is None or after.best is not None
