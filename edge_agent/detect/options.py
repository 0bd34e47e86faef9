"""How a detector is loaded; what the manifest does not say because it is the device's choice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import BundleError
from protocol.chunks import Sha256
from protocol.windows import CONFIDENCE_FLOOR


@dataclass(frozen=True)
class LoadOptions:
    """What a device chooses when it loads a build.

    Attributes:
        threads: that the runtime computes with, on all streams together; 0 takes all cores.
        streams: inferences that run side by side, where the runtime can.
        floor: the lowest confidence that the detector answers.
        cache: folder where a runtime may keep what it compiled, in a folder for each model
            file; None keeps nothing.
        engines: folder of the engines that were derived on this device of ONNX builds; None
            where there are none.
    """

    threads: int = 0
    floor: float = CONFIDENCE_FLOOR
    cache: Path | None = None
    streams: int = 1
    engines: Path | None = None

    @property
    def threads_per_stream(self) -> int:
        """0 where the runtime is to choose."""
        if self.streams == 1:
            return self.threads
        return max(1, (self.threads or cores()) // self.streams)

    def cache_of(self, model: Sha256) -> Path | None:
        """The folder for what is compiled of a model file, made; None where nothing is kept.

        Raises BundleError where it cannot be made.
        """
        if self.cache is None:
            return None
        folder = self.cache / model
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BundleError(
                f"no folder for compiled models at {folder}: {error.strerror}; free space or "
                "check its permissions"
            ) from error
        return folder


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def streams_for(live: Sequence[bool], streams_max: int) -> int:
    """How many inferences a group's cameras are best served by, side by side.

    One live camera by itself gets all threads for its newest frame: its answer comes soonest
    so. Several cameras, or a file that waits, get more answers in all where no inference
    waits for the slowest of its threads.
    """
    return 1 if len(live) <= 1 and all(live) else min(streams_max, cores())
