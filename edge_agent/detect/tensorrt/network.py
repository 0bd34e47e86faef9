"""A plan on the GPU, as a Network: its buffers, and a batch at a time through them.

Each size of a batch has an execution context of its own, because a CUDA graph is good only
while the context that it was recorded from stays as it was. They take turns on one stream,
so they share one block of scratch memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.network import Answers, Read
from edge_agent.detect.signature import Binding
from edge_agent.detect.tensorrt.bindings import plan_layout
from edge_agent.detect.tensorrt.cuda import Cuda, Graph
from edge_agent.detect.tensorrt.plan import Plan

SIZES_WARMED_MAX = 16
"""Sizes of a batch that are made ready before serving; larger ones are at their first use."""


@dataclass(frozen=True)
class _Program:
    """How a batch of one size is run; `graph` is None where it could not be recorded."""

    context: Any
    graph: Graph | None


class EngineNetwork:
    """A detector's plan, ready to run; `plan` and `cuda` are then its own to close.

    Raises:
        DetectorError: the plan needs buffers that it cannot have.
    """

    def __init__(self, plan: Plan, cuda: Cuda, binding: Binding) -> None:
        self.artifact, self.binding = plan.artifact, binding
        self._plan, self._cuda = plan, cuda
        self._layout = layout = plan_layout(plan.tensors, binding)
        self._addresses = {
            b.name: cuda.allocate(b.device_bytes) for b in (layout.images, *layout.outputs)
        }
        self._scratch = cuda.allocate(max(plan.scratch_bytes, 1))
        self._answer = cuda.pinned(layout.answer.shape, layout.answer.dtype)
        self._programs: dict[int, _Program] = {}
        self._turn = threading.Lock()

    def warm(self) -> None:
        """Make every size of a batch ready, so that none costs time while frames wait.

        Raises DetectorError where TensorRT or CUDA fails.
        """
        batch = self.binding.batch_max
        sizes = (batch,) if self.binding.batch_fixed else range(1, batch + 1)
        for size in sizes[:SIZES_WARMED_MAX]:
            self._prepare(size)

    def run(self, tensor: npt.NDArray[np.floating[Any]], read: Read) -> Answers:
        """What `read` makes of the answer (N, ...) to `tensor` (N, 3, H, W).

        Raises DetectorError where TensorRT or CUDA fails.
        """
        with self._turn:
            return read(self._run(tensor))

    def _run(self, tensor: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        size = len(tensor)
        if size not in self._programs:
            self._prepare(size)
        program = self._programs[size]
        self._cuda.upload(self._addresses[self._layout.images.name], tensor)
        if program.graph is None:
            self._enqueue(program.context, size)
        else:
            self._cuda.launch(program.graph)
        self._cuda.synchronize()
        return self._answer[:size]

    def close(self) -> None:
        """Let contexts, their engine and then the memory that both used go, once the stream
        is done with them."""
        self._cuda.settle()
        self._programs.clear()
        self._plan.close()
        self._cuda.close()

    def _prepare(self, size: int) -> None:
        context = self._context(size)
        # Kept from here on: a context must outlive its work on the stream, whatever fails.
        self._programs[size] = _Program(context, None)
        # What a new shape leaves to be done is done in the first run, outside of a graph.
        self._enqueue(context, size)
        self._cuda.synchronize()
        if self._plan.capturable:
            graph = self._cuda.capture(lambda: self._enqueue(context, size))
            self._programs[size] = _Program(context, graph)

    def _context(self, size: int) -> Any:
        images, answer = self._layout.images, self._layout.answer
        context = self._plan.context(images.name, (size, *images.shape[1:]))
        context.set_device_memory(self._scratch, self._plan.scratch_bytes)
        for name, address in self._addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._plan.failure(f"takes no memory for {name}")
        given = tuple(context.get_tensor_shape(answer.name))
        if given != (size, *answer.shape[1:]):
            raise self._plan.failure(f"answers {given} to a batch of {size}")
        return context

    def _enqueue(self, context: Any, size: int) -> None:
        if not context.execute_async_v3(self._cuda.stream):
            raise self._plan.failure("did not run")
        self._cuda.download(self._answer[:size], self._addresses[self._layout.answer.name])
