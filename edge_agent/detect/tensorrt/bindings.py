"""Which tensors an engine has and which buffers they need; nothing here touches a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.detect.metadata import Metadata
from edge_agent.detect.signature import Binding, Port, Signature
from edge_agent.detect.tensorrt.errors import EngineFileError
from edge_agent.detect.tensorrt.profile import DYNAMIC, Shape

BUFFER_BYTES_MAX = 4 * 1024**3
DEVICE_ALIGNMENT_BYTES = 256

DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "INT8": np.dtype(np.int8),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
}
"""By TensorRT's names. bf16, fp8 and the 4-bit types have no NumPy type."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as the engine describes it.

    Attributes:
        shape: -1 where an axis is dynamic.
        dtype: TensorRT's name of it.
        mode: `INPUT` or `OUTPUT`.
        batch_max: what the profile allows at most, where the batch is dynamic.
    """

    name: str
    shape: Shape
    dtype: str
    mode: str
    batch_max: int | None = None


@dataclass(frozen=True)
class Buffer:
    """The memory of one tensor, for a full batch.

    Attributes:
        shape: (batch, ...).
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def host_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def device_bytes(self) -> int:
        return -(-self.host_bytes // DEVICE_ALIGNMENT_BYTES) * DEVICE_ALIGNMENT_BYTES


@dataclass(frozen=True)
class Layout:
    """All buffers of a detector.

    Attributes:
        images: of the input.
        outputs: each needs memory on the device, although one alone is read.
        answer: the one that the head reads.
    """

    images: Buffer
    outputs: tuple[Buffer, ...]
    answer: Buffer

    @property
    def device_bytes(self) -> int:
        return sum(b.device_bytes for b in (self.images, *self.outputs))


def signature(artifact: str, tensors: Sequence[TensorSpec], metadata: Metadata) -> Signature:
    """An engine's inputs and outputs as every runtime's are described."""
    inputs, outputs = (
        tuple(_port(t) for t in tensors if t.mode == mode) for mode in ("INPUT", "OUTPUT")
    )
    return Signature(artifact, inputs, outputs, metadata)


def plan_layout(tensors: Sequence[TensorSpec], binding: Binding) -> Layout:
    """The buffers of an engine that is run as `binding` says.

    Raises EngineFileError where an axis other than the batch is dynamic, where the profile
    allows a smaller batch only, or where NumPy has no such type.
    """
    given = [t for t in tensors if t.mode == "INPUT"][binding.input_index]
    if given.batch_max is not None and given.batch_max < binding.batch_max:
        raise EngineFileError(
            f"the engine takes {given.batch_max} frames at most, its manifest says "
            f"{binding.batch_max}; build it again"
        )
    outputs = tuple(_buffer(t, binding.batch_max) for t in tensors if t.mode == "OUTPUT")
    images = _buffer(given, binding.batch_max)
    return Layout(images, outputs, outputs[binding.output_index])


def _port(tensor: TensorSpec) -> Port:
    dtype = DTYPES.get(tensor.dtype)
    shape = tuple(None if side == DYNAMIC else side for side in tensor.shape)
    return Port(tensor.name, shape, tensor.dtype if dtype is None else dtype.name)


def _buffer(tensor: TensorSpec, batch: int) -> Buffer:
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise EngineFileError(
            f"{tensor.name} is {tensor.dtype}; export it with inputs and outputs of fp32 or fp16"
        )
    if not tensor.shape or tensor.shape[0] not in (DYNAMIC, batch):
        raise EngineFileError(
            f"{tensor.name} has shape {tensor.shape} where the batch is {batch}; export it again"
        )
    if any(side < 1 for side in tensor.shape[1:]):
        raise EngineFileError(
            f"{tensor.name} has shape {tensor.shape}; export it with a fixed size and without "
            "suppression inside the model: only the batch may vary"
        )
    buffer = Buffer(tensor.name, (batch, *tensor.shape[1:]), dtype)
    if buffer.device_bytes > BUFFER_BYTES_MAX:
        raise EngineFileError(
            f"{tensor.name} needs {buffer.device_bytes} bytes, over {BUFFER_BYTES_MAX}; "
            "build it for a smaller batch"
        )
    return buffer
