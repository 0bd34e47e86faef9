"""How a detector is loaded; what the manifest does not say because it is the device's choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protocol.windows import CONFIDENCE_FLOOR


@dataclass(frozen=True)
class LoadOptions:
    """What a device chooses when it loads a build.

    Attributes:
        threads: that the runtime computes with; 0 lets it choose.
        floor: the lowest confidence that the detector answers.
        cache: folder where a runtime may keep what it compiled; None keeps nothing.
    """

    threads: int = 0
    floor: float = CONFIDENCE_FLOOR
    cache: Path | None = None
