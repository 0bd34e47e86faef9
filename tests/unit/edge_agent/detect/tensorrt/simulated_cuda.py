"""A CUDA runtime in plain memory: asynchronous, countable, and it fails where it is told to.

What is put on a stream happens at the next synchronisation and no sooner, so code that
reads too early reads what was there before. Memory that was freed cannot be used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any

Work = Callable[[], None]


class Status(IntEnum):
    cudaSuccess = 0  # noqa: N815 - CUDA's names
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class CaptureMode(Enum):
    cudaStreamCaptureModeGlobal = 0  # noqa: N815
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815


class MemcpyKind(Enum):
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class Stream:
    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.queue: list[Work] = []
        self.recording: list[Work] | None = None
        self.spoilt = False

    def __int__(self) -> int:
        return self.handle

    def put(self, work: Work) -> None:
        (self.queue if self.recording is None else self.recording).append(work)


class SimulatedCuda:
    """Answers like the module `cuda.bindings.runtime`.

    Attributes:
        calls: names of all calls, in order.
        fail_at: number of the call, from 0, that fails; None for none.
        launches: graphs that were launched.
        freed_under_way: whether memory or a stream went while there was work for it.
    """

    cudaError_t = Status  # noqa: N815
    cudaMemcpyKind = MemcpyKind  # noqa: N815
    cudaStreamCaptureMode = CaptureMode  # noqa: N815
    cudaStreamNonBlocking = 1  # noqa: N815
    cudaHostAllocDefault = 0  # noqa: N815

    def __init__(self, fail_at: int | None = None) -> None:
        self.calls: list[str] = []
        self.fail_at, self.launches = fail_at, 0
        self.freed_under_way = False
        self.memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.streams: dict[int, Stream] = {}
        self.graphs: set[int] = set()
        self._executables: dict[int, list[Work]] = {}
        self._next = 1

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if not name.startswith("cuda") or not callable(found) or isinstance(found, type):
            return found

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if "Free" in name or "Destroy" in name:
                self.freed_under_way |= any(s.queue for s in self.streams.values())
            if len(self.calls) - 1 == self.fail_at and "Error" not in name:
                if "Free" in name or "Destroy" in name:
                    found(*arguments)  # does its work and reports what failed before it
                elif name == "cudaStreamEndCapture":
                    arguments[0].recording = None
                return Status.cudaErrorMemoryAllocation, None
            return found(*arguments)

        return call

    @property
    def held(self) -> int:
        """How much is held: blocks of memory, streams, graphs."""
        return len(self.memory) + len(self.streams) + len(self.graphs) + len(self._executables)

    def at(self, address: int, size_bytes: int) -> int:
        """`address`, once it is sure that so many bytes there are allocated."""
        for start, block in self.memory.items():
            if start <= address and address + size_bytes <= start + len(block):
                return address
        raise AssertionError(f"{size_bytes} bytes at {address:#x} are not allocated")

    def cudaStreamCreateWithFlags(self, _flags: int) -> tuple[Status, Stream]:  # noqa: N802
        stream = Stream(self._number())
        self.streams[stream.handle] = stream
        return Status.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: Stream) -> tuple[Status]:  # noqa: N802
        del self.streams[stream.handle]
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: Stream) -> tuple[Status]:  # noqa: N802
        assert stream.recording is None, "no synchronisation while recording"
        while stream.queue:
            stream.queue.pop(0)()
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size_bytes: int) -> tuple[Status, int]:  # noqa: N802
        assert size_bytes > 0
        block = ctypes.create_string_buffer(size_bytes)
        address = ctypes.addressof(block)
        self.memory[address] = block
        return Status.cudaSuccess, address

    def cudaHostAlloc(self, size_bytes: int, _flags: int) -> tuple[Status, int]:  # noqa: N802
        status, address = SimulatedCuda.cudaMalloc(self, size_bytes)
        return status, address

    def cudaFree(self, address: int) -> tuple[Status]:  # noqa: N802
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaFreeHost(self, address: int) -> tuple[Status]:  # noqa: N802
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(  # noqa: N802
        self, to: int, source: int, size_bytes: int, kind: MemcpyKind, stream: Stream
    ) -> tuple[Status]:
        device = to if kind is MemcpyKind.cudaMemcpyHostToDevice else source

        def copy() -> None:
            self.at(device, size_bytes)
            ctypes.memmove(to, source, size_bytes)

        stream.put(copy)
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: Stream, _mode: CaptureMode) -> tuple[Status]:  # noqa: N802
        stream.recording, stream.spoilt = [], False
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: Stream) -> tuple[Status, Any]:  # noqa: N802
        recorded, stream.recording = stream.recording, None
        if stream.spoilt:
            return Status.cudaErrorStreamCaptureInvalidated, None
        assert recorded is not None
        self.graphs.add(id(recorded))
        return Status.cudaSuccess, recorded

    def cudaGraphInstantiate(self, graph: list[Work], _flags: int) -> tuple[Status, int]:  # noqa: N802
        number = self._number()
        self._executables[number] = list(graph)
        return Status.cudaSuccess, number

    def cudaGraphDestroy(self, graph: list[Work]) -> tuple[Status]:  # noqa: N802
        self.graphs.remove(id(graph))
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, number: int) -> tuple[Status]:  # noqa: N802
        del self._executables[number]
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, number: int, stream: Stream) -> tuple[Status]:  # noqa: N802
        self.launches += 1
        stream.queue.extend(self._executables[number])
        return (Status.cudaSuccess,)

    def cudaGetErrorString(self, _status: Status) -> tuple[Status, bytes]:  # noqa: N802
        return Status.cudaSuccess, b"out of memory"

    def cudaGetLastError(self) -> tuple[Status]:  # noqa: N802
        return (Status.cudaSuccess,)

    def _number(self) -> int:
        self._next += 1
        return self._next
