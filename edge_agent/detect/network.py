"""A detector around any runtime that turns one tensor into another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detections
from edge_agent.detect.letterbox import Allocate, Image, Letterbox, Prepared
from edge_agent.detect.options import LoadOptions
from edge_agent.detect.postprocess import Postprocess
from edge_agent.detect.signature import Binding
from edge_agent.errors import DetectorError
from protocol.bundles import Manifest

Answers = tuple[Detections, ...]
Read = Callable[[npt.NDArray[Any]], Answers]


class Network(Protocol):
    """A model loaded in its runtime.

    Attributes:
        artifact: its file's name, for errors.
        binding: what it takes.
    """

    artifact: str
    binding: Binding

    def run(self, tensor: npt.NDArray[np.floating[Any]], read: Read) -> Answers:
        """What `read` makes of the head's output for an input of the binding's shape and
        dtype; where the batch is open, of 1 to `batch_max` rows.

        Any thread may call it, and waits where the runtime can take no more at once. The
        output is `read`'s only until it returns. The runtime's own exceptions come through.
        """

    def close(self) -> None:
        """Let the runtime's memory go."""


class NetworkDetector:
    """The Detector of a network; the letterbox before it, the head behind it.

    Args:
        allocate: how the input's memory is made.
    """

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        options: LoadOptions,
        allocate: Allocate = np.empty,
    ) -> None:
        self._network: Network | None = network
        self._artifact, self._fixed = network.artifact, network.binding.batch_fixed
        self.batch_max = network.binding.batch_max
        how, binding = manifest.preprocessing, network.binding
        self._letterbox = Letterbox(
            binding.width,
            binding.height,
            binding.dtype,
            pad_value=how.pad_value,
            scale=how.scale,
            batch_max=self.batch_max,
            allocate=allocate,
        )
        self._postprocess = Postprocess(network.artifact, manifest, options.floor)

    def prepare(self, frames: Sequence[Image], reuse: Prepared | None = None) -> Prepared:
        return self._letterbox.prepare(frames, reuse)

    def infer(self, prepared: Prepared) -> tuple[Detections, ...]:
        network = self._network
        if network is None:
            raise DetectorError(f"{self._artifact} is closed; load its bundle again")
        try:
            return network.run(
                prepared.memory.array if self._fixed else prepared.tensor,
                lambda output: self._postprocess(output, prepared.geometries),
            )
        except DetectorError:
            raise
        except Exception as error:
            raise DetectorError(f"{self._artifact} failed in the runtime: {error}") from error

    def close(self) -> None:
        network, self._network = self._network, None
        if network is not None:
            network.close()
