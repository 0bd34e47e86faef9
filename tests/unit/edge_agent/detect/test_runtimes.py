from __future__ import annotations

import sys
from typing import Any

import pytest

from edge_agent.detect.runtimes import (
    installed_version,
    openvino_precisions,
    opset_max,
    runtimes,
)
from edge_agent.detect.tensorrt.probe import Gpu
from edge_agent.observe.hardware import capabilities
from protocol.builds import Precision


@pytest.mark.parametrize(
    ("version", "opset"),
    [("1.19.0", 19), ("1.20.1", 21), ("1.22.0", 22), ("1.23.2", 23), ("1.31.1", 26), ("1.99", 26)],
)
def test_the_opset_of_a_version_is_never_overstated(version: str, opset: int) -> None:
    assert opset_max(version) == opset


def test_runtimes_are_found_without_importing_them() -> None:
    modules = {name: sys.modules.pop(name, None) for name in ("onnxruntime", "openvino")}
    try:
        capabilities()
        assert not modules.keys() & sys.modules.keys()
    finally:
        sys.modules.update({name: m for name, m in modules.items() if m is not None})


def test_a_runtime_that_is_not_there_is_not_listed() -> None:
    assert installed_version("no_such_runtime", ("no-such-runtime",)) is None
    assert not _listed(Gpu()) & {"tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt"}


def test_a_gpu_brings_its_runtimes_where_they_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"onnxruntime": "1.31.0", "onnxruntime-gpu": "1.31.0"}
    monkeypatch.setattr(
        "edge_agent.detect.runtimes.metadata.version", lambda name: versions.get(name, "2026.4")
    )
    names = {"onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt"}
    assert names <= _listed(Gpu(compute_capability="8.7"))
    assert names & _listed(Gpu()) == {"onnxruntime"}


def _listed(gpu: Gpu) -> set[str]:
    return {r.runtime for r in runtimes((), gpu)}


@pytest.mark.parametrize(
    ("flags", "precisions"),
    [
        ((), {"fp32", "int8"}),
        (("avx2", "avx512_vnni"), {"fp32", "int8"}),
        (("avx512_bf16",), {"fp32", "int8", "bf16"}),
        (("avx512_bf16", "avx512_fp16"), {"fp32", "int8", "bf16", "fp16"}),
        (("asimd", "asimdhp"), {"fp32", "int8", "fp16"}),
    ],
)
def test_openvino_offers_what_the_cpu_computes(
    flags: tuple[str, ...], precisions: set[str]
) -> None:
    assert {p.value for p in openvino_precisions(flags)} == precisions


def test_openvino_itself_says_the_same_of_this_cpu() -> None:
    openvino: Any = pytest.importorskip("openvino", reason="openvino is an extra")
    says = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    claimed = set(openvino_precisions(capabilities().cpu_flags))
    assert (Precision.BF16 in claimed, Precision.FP16 in claimed) == (
        "BF16" in says,
        "FP16" in says,
    )
