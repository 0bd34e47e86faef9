from __future__ import annotations

import gc

import numpy as np
import pytest

from edge_agent.detect.tensorrt.cuda import Cuda, call, load_runtime
from edge_agent.detect.tensorrt.errors import CudaError

pytestmark = pytest.mark.gpu
pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")

MIB = 1024 * 1024


def test_bytes_go_there_and_back_also_in_a_graph() -> None:
    cuda = Cuda(load_runtime())
    given = cuda.pinned((1024,), np.dtype(np.float32))
    back = cuda.pinned((1024,), np.dtype(np.float32))
    address = cuda.allocate(given.nbytes)
    assert address % 256 == 0
    given[:] = np.arange(1024)
    cuda.upload(address, given)
    cuda.download(back, address)
    cuda.synchronize()
    assert (back == given).all()
    graph = cuda.capture(lambda: cuda.download(back, address))
    assert graph is not None
    given[:] = 7
    cuda.upload(address, given)
    cuda.launch(graph)
    cuda.synchronize()
    assert (back == 7).all()
    cuda.close()


def test_too_much_is_refused_and_the_device_is_good_afterwards() -> None:
    cuda = Cuda(load_runtime())
    with pytest.raises(CudaError, match="cudaMalloc"):
        cuda.allocate(1 << 50)
    cuda.allocate(MIB)
    cuda.synchronize()
    cuda.close()


def test_all_memory_comes_back() -> None:
    Cuda(load_runtime()).close()
    before = call(load_runtime(), "cudaMemGetInfo")
    for _ in range(20):
        cuda = Cuda(load_runtime())
        cuda.allocate(64 * MIB)
        cuda.pinned((MIB,), np.dtype(np.uint8))
        cuda.close()
    gc.collect()
    assert call(load_runtime(), "cudaMemGetInfo") >= before - 32 * MIB
