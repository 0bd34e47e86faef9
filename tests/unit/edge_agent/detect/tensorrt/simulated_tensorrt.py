"""A TensorRT that knows a few models by their bytes, on a simulated CUDA runtime.

Its classes have no more names than the real bindings have: `test_surface` holds them against
lists that were read from those. What it is told to compute, it computes on the stream.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.tensorrt.bindings import DTYPES, TensorSpec
from tests.unit.edge_agent.detect.tensorrt.simulated_cuda import SimulatedCuda

SURFACES: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "surfaces.json").read_text()
)
NEWEST = "11.4.0.106"

Compute = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass
class Model:
    """What an ONNX file or a plan holds.

    Attributes:
        compute: from images (N, 3, H, W) to the first output (N, ...).
        profile: smallest and largest batch where the batch is dynamic.
        capturable: whether its work can be recorded.
        runs: whether it can be run at all.
    """

    tensors: list[TensorSpec]
    compute: Compute
    profile: tuple[int, int] = (1, 4)
    capturable: bool = True
    runs: bool = True
    steps: list[tuple[str, str | None, int]] = field(default_factory=list)


class SimulatedTensorRt:
    """Answers like the module `tensorrt`.

    Attributes:
        models: by the bytes of the ONNX file or the plan.
        starts: whether its libraries find a GPU.
        seen: what was set on the way, by name.
        contexts_alive: how many execution contexts there are.
        engine_went_first: whether an engine went while there were contexts.
    """

    def __init__(self, version: str, cuda: SimulatedCuda) -> None:
        self.__version__, self.cuda, self.starts = version, cuda, True
        self.models: dict[bytes, Model] = {}
        self.seen: dict[str, Any] = {}
        self.contexts_alive, self.engine_went_first = 0, False
        surface = SURFACES[version]
        for name in (
            "NetworkDefinitionCreationFlag",
            "BuilderFlag",
            "MemoryPoolType",
            "HardwareCompatibilityLevel",
            "ExecutionContextAllocationStrategy",
        ):
            setattr(self, name, int_like(name, surface[name]))
        severities = int_like("Severity", surface["Severity"])
        self.ILogger: Any = type("ILogger", (Logger,), {"Severity": severities})
        self.IProgressMonitor = ProgressMonitor

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        self._start()
        return Runtime(self, logger)

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        from tests.unit.edge_agent.detect.tensorrt.simulated_builder import Builder

        self._start()
        return Builder(self, logger)

    def OnnxParser(self, network: Any, _logger: Any) -> Any:  # noqa: N802
        from tests.unit.edge_agent.detect.tensorrt.simulated_builder import OnnxParser

        return OnnxParser(self, network)

    def error(self, logger: Any, text: str) -> None:
        logger.log(self.ILogger.Severity.ERROR, text)

    def _start(self) -> None:
        if not self.starts:
            raise TypeError("pybind11::init(): factory function returned nullptr")


def int_like(name: str, members: list[str]) -> Any:
    """An enumeration as pybind11 makes them: `int()` works on its members."""
    return type(name, (), {member: Member(member, n) for n, member in enumerate(members)})


class Member(int):
    name: str

    def __new__(cls, name: str, number: int) -> Member:
        member = super().__new__(cls, number)
        member.name = name
        return member


class Logger:
    def log(self, severity: Any, message: str) -> None:
        raise AssertionError(f"a logger overrides this: {severity} {message}")


class ProgressMonitor:
    pass


class Named:
    """What an enumeration's member looks like: it has a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Runtime:
    __slots__ = ("DLA_core", "_logger", "_trt")

    def __init__(self, trt: SimulatedTensorRt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, plan: memoryview) -> CudaEngine | None:
        self._trt.seen["DLA_core"] = getattr(self, "DLA_core", None)
        model = self._trt.models.get(bytes(plan))
        if model is None:
            self._trt.error(self._logger, "Serialization assertion failed. magic tag")
            return None
        return CudaEngine(self._trt, self._logger, model)


class CudaEngine:
    __slots__ = ("_logger", "_model", "_trt", "device_memory_size_v2", "num_io_tensors")

    def __init__(self, trt: SimulatedTensorRt, logger: Any, model: Model) -> None:
        self._trt, self._logger, self._model = trt, logger, model
        self.num_io_tensors, self.device_memory_size_v2 = len(model.tensors), 1024

    def __del__(self) -> None:
        self._trt.engine_went_first |= self._trt.contexts_alive > 0

    def get_tensor_name(self, index: int) -> str:
        return self._model.tensors[index].name

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._find(name).shape

    def get_tensor_dtype(self, name: str) -> Named:
        return Named(self._find(name).dtype)

    def get_tensor_mode(self, name: str) -> Named:
        return Named(self._find(name).mode)

    def get_tensor_profile_shape(self, name: str, _profile: int) -> list[tuple[int, ...]]:
        rest = self._find(name).shape[1:]
        smallest, largest = self._model.profile
        return [(smallest, *rest), (largest, *rest), (largest, *rest)]

    def create_execution_context(self, strategy: Member) -> ExecutionContext:
        assert strategy.name == "USER_MANAGED"
        return ExecutionContext(self._trt, self._logger, self._model)

    def _find(self, name: str) -> TensorSpec:
        return next(t for t in self._model.tensors if t.name == name)


class ExecutionContext:
    __slots__ = ("_addresses", "_batch", "_logger", "_model", "_scratch", "_trt")

    def __init__(self, trt: SimulatedTensorRt, logger: Any, model: Model) -> None:
        self._trt, self._logger, self._model = trt, logger, model
        self._addresses: dict[str, int] = {}
        self._batch = self._scratch = 0
        trt.contexts_alive += 1

    def __del__(self) -> None:
        self._trt.contexts_alive -= 1

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        given = self._tensor(name).shape
        self._batch = shape[0]
        smallest, largest = self._model.profile if given[0] == -1 else (given[0], given[0])
        return shape[1:] == given[1:] and smallest <= shape[0] <= largest

    def set_device_memory(self, address: int, size_bytes: int) -> None:
        self._scratch = self._trt.cuda.at(address, size_bytes)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._batch, *self._tensor(name).shape[1:])

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream = self._trt.cuda.streams[stream_handle]
        if stream.recording is not None and not self._model.capturable:
            stream.spoilt = True
            return False
        assert self._scratch and len(self._addresses) == len(self._model.tensors)
        if not self._model.runs:
            self._trt.error(self._logger, "Cuda failure: an illegal memory access")
            return False
        stream.put(self._compute)
        return True

    def _compute(self) -> None:
        images, output = self._model.tensors[0], self._model.tensors[1]
        self._array(output)[:] = self._model.compute(self._array(images))

    def _array(self, tensor: TensorSpec) -> npt.NDArray[Any]:
        dtype, shape = DTYPES[tensor.dtype], self.get_tensor_shape(tensor.name)
        size = int(np.prod(shape)) * dtype.itemsize
        address = self._trt.cuda.at(self._addresses[tensor.name], size)
        block = (ctypes.c_uint8 * size).from_address(address)
        return np.ctypeslib.as_array(block).view(dtype).reshape(shape)

    def _tensor(self, name: str) -> TensorSpec:
        return next(t for t in self._model.tensors if t.name == name)
