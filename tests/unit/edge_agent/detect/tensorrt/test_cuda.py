from __future__ import annotations

import gc
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.detect.tensorrt.cuda import Cuda, load_runtime
from edge_agent.detect.tensorrt.errors import CudaError
from edge_agent.errors import DetectorError
from tests.unit.edge_agent.detect.tensorrt.simulated_cuda import SimulatedCuda

FLOAT = np.dtype(np.float32)


def test_bytes_go_to_the_device_and_back_once_the_stream_is_done() -> None:
    cuda = Cuda(SimulatedCuda())
    address = cuda.allocate(16)
    back = cuda.pinned((2, 2), FLOAT)
    back[:] = -1
    cuda.upload(address, np.array([[1, 2], [3, 4]], np.float32))
    cuda.download(back, address)
    assert (back == -1).all()
    cuda.synchronize()
    assert back.tolist() == [[1, 2], [3, 4]]


def test_closing_gives_back_everything_the_last_first() -> None:
    runtime = SimulatedCuda()
    cuda = Cuda(runtime)
    cuda.allocate(16)
    assert cuda.capture(lambda: None) is not None
    runtime.calls.clear()
    cuda.close()
    cuda.close()
    assert runtime.calls == ["cudaGraphExecDestroy", "cudaFree", "cudaStreamDestroy"]
    assert runtime.held == 0


def test_a_pinned_array_lives_as_long_as_its_last_user() -> None:
    runtime = SimulatedCuda()
    cuda = Cuda(runtime)
    array = cuda.pinned((4, 3), FLOAT)
    row = array[1]
    cuda.close()
    del array
    gc.collect()
    row[:] = 7
    assert runtime.held == 1
    del row
    gc.collect()
    assert runtime.held == 0


def test_a_release_that_fails_does_not_keep_the_others() -> None:
    runtime = SimulatedCuda()
    cuda = Cuda(runtime)
    cuda.allocate(16)
    cuda.allocate(16)
    runtime.fail_at = len(runtime.calls)
    cuda.close()
    assert runtime.calls[-4:].count("cudaFree") == 2
    assert runtime.calls[-1] == "cudaStreamDestroy"


def test_an_error_says_what_cuda_says() -> None:
    with pytest.raises(CudaError, match="cudaStreamCreateWithFlags: out of memory"):
        Cuda(SimulatedCuda(fail_at=0))


def test_a_driver_that_is_not_there_is_said_in_any_version() -> None:
    def missing(_flags: int) -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    runtime = SimpleNamespace(cudaStreamNonBlocking=1, cudaStreamCreateWithFlags=missing)
    with pytest.raises(CudaError, match="cudaStreamCreateWithFlags: Failed to dlopen"):
        Cuda(runtime)


def test_only_contiguous_arrays_are_copied() -> None:
    cuda = Cuda(SimulatedCuda())
    with pytest.raises(CudaError, match="contiguous"):
        cuda.upload(cuda.allocate(64), np.zeros((4, 4), np.float32)[:, ::2])


def test_a_graph_does_again_what_was_recorded() -> None:
    runtime = SimulatedCuda()
    cuda = Cuda(runtime)
    address, back = cuda.allocate(4), cuda.pinned((1,), FLOAT)
    back[:] = 0
    graph = cuda.capture(lambda: cuda.download(back, address))
    assert graph is not None
    cuda.synchronize()
    assert back[0] == 0, "recording runs nothing"
    for value in (5.0, 6.0):
        cuda.upload(address, np.array([value], np.float32))
        cuda.launch(graph)
        cuda.synchronize()
        assert back[0] == value
    assert not runtime.graphs


def test_what_cannot_be_recorded_is_none_and_the_stream_is_good_again() -> None:
    runtime = SimulatedCuda()
    cuda = Cuda(runtime)

    def spoil() -> None:
        runtime.streams[cuda.stream].spoilt = True

    def refuse() -> None:
        raise DetectorError("not now")

    assert cuda.capture(spoil) is None
    assert "cudaGetLastError" in runtime.calls
    assert cuda.capture(refuse) is None
    assert not runtime.graphs
    cuda.synchronize()
    assert cuda.capture(lambda: None) is not None


def test_without_a_driver_the_real_runtime_says_so() -> None:
    runtime = pytest.importorskip(
        "cuda.bindings.runtime", reason="the package cuda-bindings is not installed"
    )
    status, count = runtime.cudaGetDeviceCount()
    if status == runtime.cudaError_t.cudaSuccess and count:
        pytest.skip("there is a GPU here; tests/gpu runs on it")
    with pytest.raises(CudaError, match=r"cudaStreamCreateWithFlags: .*(driver|device)"):
        Cuda(load_runtime())
