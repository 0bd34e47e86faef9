"""Tests that need an NVIDIA GPU; where a part is missing they say which.

What needs TensorRT asks for the fixture `tensorrt`, so that the rest runs without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.detect.detector import Detector
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.providers import CUDA
from edge_agent.detect.tensorrt.build import BuiltEngine
from edge_agent.detect.tensorrt.detector import ENGINE_PATH, open_tensorrt
from edge_agent.detect.tensorrt.engine_file import join_engine
from edge_agent.detect.tensorrt.probe import Gpu, probe
from protocol.builds import Format
from protocol.bundles import GOLDEN_PATH
from tests.fixtures.artifacts import manifest_for

OpenEngine = Callable[..., Detector]


@pytest.fixture(scope="session", autouse=True)
def gpu() -> Gpu:
    """The GPU of this machine; without one, all tests here are skipped."""
    found = probe()
    if found.name is None:
        pytest.skip("no NVIDIA GPU on this machine")
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    return found


@pytest.fixture(scope="session")
def tensorrt(gpu: Gpu) -> Gpu:
    """The GPU of a machine with TensorRT, and with what its engines are driven by."""
    if gpu.tensorrt_version is None:
        pytest.skip("a GPU, but no TensorRT from 10.3 to 11: install argosy[edge-tensorrt]")
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    return gpu


@pytest.fixture(scope="session")
def cuda_provider(gpu: Gpu) -> Gpu:
    """The GPU of a machine whose ONNX Runtime has a provider for it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: install argosy[edge-cuda]")
    return gpu


@pytest.fixture
def open_engine(tmp_path: Path) -> OpenEngine:
    """Opens a built engine as an agent does; takes what `manifest_for` takes."""

    def open_it(built: BuiltEngine, **manifest: Any) -> Detector:
        data = join_engine(built.metadata, built.plan)
        (tmp_path / ENGINE_PATH).write_bytes(data)
        files = {ENGINE_PATH: data, GOLDEN_PATH: b"{}"}
        said = {"format": Format.TENSORRT, "runtime": "tensorrt", **manifest}
        return open_tensorrt(tmp_path, manifest_for(files, **said), LoadOptions())

    return open_it
