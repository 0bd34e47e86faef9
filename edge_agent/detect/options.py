"""How a detector is loaded; what the manifest does not say because it is the device's choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import BundleError
from protocol.chunks import Sha256
from protocol.windows import CONFIDENCE_FLOOR


@dataclass(frozen=True)
class LoadOptions:
    """What a device chooses when it loads a build.

    Attributes:
        threads: that the runtime computes with; 0 lets it choose.
        floor: the lowest confidence that the detector answers.
        cache: folder where a runtime may keep what it compiled, in a folder for each model
            file; None keeps nothing.
    """

    threads: int = 0
    floor: float = CONFIDENCE_FLOOR
    cache: Path | None = None

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
