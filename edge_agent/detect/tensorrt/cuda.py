"""The CUDA runtime as far as a detector needs it: memory, one stream, graphs.

Whatever is taken is given back by `close`, the last first, and also where taking the next
thing fails. Pinned arrays are the exception: one may still be in use by the thread that
prepares frames, so each is given back when its last user lets it go.

Device 0 is used, the default of every thread; CUDA_VISIBLE_DEVICES chooses another.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from edge_agent.detect.tensorrt.errors import CudaError
from edge_agent.errors import DetectorError

_log = structlog.get_logger(__name__)

REMEDY = "`argosy-agent doctor` says what this device lacks"


class Graph:
    """Work recorded on a stream, ready to be launched again. `Cuda` owns and frees it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle


class Cuda:
    """One stream of a device and what was allocated for it.

    Args:
        runtime: the module `cuda.bindings.runtime`, or what answers like it.

    Raises:
        CudaError: there is no usable device.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._held, self._graphs = ExitStack(), ExitStack()
        self._stream: Any = self._take(
            "cudaStreamDestroy",
            self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking),
        )

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        return int(self._stream)

    def allocate(self, size_bytes: int) -> int:
        """The address of so much device memory, aligned to 256 bytes."""
        return int(self._take("cudaFree", self._call("cudaMalloc", size_bytes)))

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A page-locked array, which the device reads and writes without a copy between.

        Its content is undefined. It outlives `close` for as long as anyone uses it.
        """
        size = math.prod(shape) * dtype.itemsize
        pointer = self._call("cudaHostAlloc", size, self._runtime.cudaHostAllocDefault)
        memory = _Pinned(int(pointer), size)
        release = weakref.finalize(memory, self._release, "cudaFreeHost", pointer)
        release.atexit = False
        return np.asarray(memory).view(dtype).reshape(shape)

    def upload(self, address: int, array: npt.NDArray[Any]) -> None:
        """Enqueue a copy of the contiguous `array` to the device."""
        self._copy(address, _address(array), array.nbytes, "cudaMemcpyHostToDevice")

    def download(self, array: npt.NDArray[Any], address: int) -> None:
        """Enqueue a copy from the device into the contiguous `array`."""
        self._copy(_address(array), address, array.nbytes, "cudaMemcpyDeviceToHost")

    def synchronize(self) -> None:
        """Wait until the stream has done all. Raises CudaError where something failed."""
        self._call("cudaStreamSynchronize", self._stream)

    def settle(self) -> None:
        """Wait until nothing is under way and let all graphs go, before what they use goes.

        A failure is logged.
        """
        self._release("cudaStreamSynchronize", self._stream)
        self._graphs.close()

    def capture(self, enqueue: Callable[[], None]) -> Graph | None:
        """What `enqueue` puts on the stream, as a graph; None where it cannot be recorded.

        Only this thread is held to what a capture allows: others may allocate meanwhile.
        """
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        with ExitStack() as passing:
            try:
                try:
                    enqueue()
                finally:
                    recorded = self._call("cudaStreamEndCapture", self._stream)
                    passing.callback(self._release, "cudaGraphDestroy", recorded)
                executable = self._call("cudaGraphInstantiate", recorded, 0)
            except DetectorError as error:
                # A failure is left behind for the next call to find; fetching it clears it.
                self._runtime.cudaGetLastError()
                _log.info("cuda_graph_not_captured", reason=str(error))
                return None
            self._graphs.callback(self._release, "cudaGraphExecDestroy", executable)
            return Graph(executable)

    def launch(self, graph: Graph) -> None:
        """Enqueue the work of `graph`."""
        self._call("cudaGraphLaunch", graph.handle, self._stream)

    def close(self) -> None:
        """Give back everything; a second call does nothing."""
        self._graphs.close()
        self._held.close()

    def _copy(self, to: int, source: int, size_bytes: int, kind: str) -> None:
        kinds = self._runtime.cudaMemcpyKind
        self._call("cudaMemcpyAsync", to, source, size_bytes, getattr(kinds, kind), self._stream)

    def _take(self, release: str, handle: Any) -> Any:
        self._held.callback(self._release, release, handle)
        return handle

    def _release(self, name: str, handle: Any) -> None:
        """After a fault on the device every release fails too; the rest must still go on."""
        try:
            self._call(name, handle)
        except CudaError as error:
            _log.warning("cuda_release_failed", reason=str(error))

    def _call(self, name: str, *arguments: Any) -> Any:
        return call(self._runtime, name, *arguments)


def call(runtime: Any, name: str, *arguments: Any) -> Any:
    """The answer of one call of the CUDA runtime. Raises CudaError with CUDA's own words."""
    try:
        status, *answers = getattr(runtime, name)(*arguments)
    except RuntimeError as error:  # how cuda-bindings 12.8 says that there is no driver
        raise CudaError(f"{name}: {error}; {REMEDY}") from error
    if status != runtime.cudaError_t.cudaSuccess:
        _, text = runtime.cudaGetErrorString(status)
        words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise CudaError(f"{name}: {words} ({getattr(status, 'name', status)}); {REMEDY}")
    return answers[0] if answers else None


def load_runtime() -> Any:
    """The module of the CUDA runtime. Raises CudaError where it is not installed."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise CudaError(
            f"cuda-bindings is not installed ({error}); install argosy[edge-tensorrt]"
        ) from error
    return runtime


class _Pinned:
    """Page-locked memory as NumPy takes it; arrays over it keep it alive."""

    def __init__(self, pointer: int, size_bytes: int) -> None:
        self.__array_interface__ = {
            "data": (pointer, False),
            "shape": (size_bytes,),
            "typestr": "|u1",
            "version": 3,
        }


def _address(array: npt.NDArray[Any]) -> int:
    if not array.flags.c_contiguous:
        raise CudaError("only contiguous arrays can be copied to and from the device")
    return int(array.ctypes.data)
