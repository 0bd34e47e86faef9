"""A plan, deserialised: what it is made of, before any memory is taken for it."""

from __future__ import annotations

from typing import Any

from edge_agent.detect.tensorrt.bindings import TensorSpec
from edge_agent.detect.tensorrt.engine_file import EngineFile
from edge_agent.detect.tensorrt.errors import EngineFileError
from edge_agent.detect.tensorrt.library import Reasons, logger
from edge_agent.detect.tensorrt.profile import DYNAMIC, Shape
from edge_agent.errors import DetectorError

PROFILE = 0


class Plan:
    """TensorRT's objects for one engine file.

    Args:
        trt: the module `tensorrt`.
        artifact: the file's name, for errors.

    Attributes:
        tensors: its inputs and outputs.
        capturable: whether its work can be recorded as a CUDA graph.
        scratch_bytes: GPU memory that running it takes beside its inputs and outputs.

    Raises:
        DetectorError: TensorRT does not start, or does not load the plan here.
    """

    def __init__(self, trt: Any, file: EngineFile, artifact: str) -> None:
        self.trt, self.artifact, self.reasons = trt, artifact, Reasons()
        try:
            self._runtime = trt.Runtime(logger(trt, self.reasons))
        except TypeError as error:  # the bindings' answer where the library made none
            raise DetectorError(
                f"TensorRT {trt.__version__} does not start: {self.reasons}; "
                "`argosy-agent doctor` says what this device lacks"
            ) from error
        # A DLA works beside the stream, where a graph does not see it.
        self.capturable = file.metadata.dla is None
        if file.metadata.dla is not None:
            self._runtime.DLA_core = file.metadata.dla
        self._engine = self._runtime.deserialize_cuda_engine(file.plan)
        if self._engine is None:
            raise EngineFileError(
                f"{artifact} does not load in TensorRT {trt.__version__}: {self.reasons}; "
                "build it on this machine"
            )
        self.scratch_bytes = int(self._engine.device_memory_size_v2)
        names = map(self._engine.get_tensor_name, range(self._engine.num_io_tensors))
        self.tensors = tuple(map(self._tensor, names))

    def context(self, images: str, shape: Shape) -> Any:
        """An execution context for inputs of `shape`; its memory is the caller's to give."""
        strategies = self.trt.ExecutionContextAllocationStrategy
        context = self._engine.create_execution_context(strategies.USER_MANAGED)
        if context is None:
            raise self.failure("gave no execution context")
        if not context.set_input_shape(images, shape):
            raise self.failure(f"does not take {shape}")
        return context

    def failure(self, what: str) -> DetectorError:
        """What went wrong, with TensorRT's own words."""
        return DetectorError(f"{self.artifact} {what}: {self.reasons}; build it again")

    def close(self) -> None:
        """Let the engine go; its contexts must be gone."""
        self._engine = self._runtime = None

    def _tensor(self, name: str) -> TensorSpec:
        engine = self._engine
        shape = tuple(int(side) for side in engine.get_tensor_shape(name))
        mode = engine.get_tensor_mode(name).name
        batch_max = None
        if mode == "INPUT" and shape[:1] == (DYNAMIC,):
            smallest, _, largest = engine.get_tensor_profile_shape(name, PROFILE)
            if smallest[0] != 1:
                raise EngineFileError(
                    f"{self.artifact} takes {smallest[0]} frames at least; build it for a batch "
                    "of 1 and more"
                )
            batch_max = int(largest[0])
        return TensorSpec(name, shape, engine.get_tensor_dtype(name).name, mode, batch_max)
