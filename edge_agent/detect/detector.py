"""The port to an inference runtime, and what a detector answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_agent.detect.letterbox import Image, Prepared
from protocol.windows import CONFIDENCE_FLOOR

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

__all__ = ["CONFIDENCE_FLOOR", "Detections", "Detector", "Floats", "Ints", "detect"]


@dataclass(frozen=True)
class Detections:
    """All detections of one frame at or above the detector's floor, most confident first.

    Attributes:
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels of the frame as captured.
        confidences: float32 (N,).
        class_ids: int32 (N,).
        margins: float32 (N,): how far the confidence lies from the nearest rival class of
            the same anchor; the confidence itself where no rival reached the output.
    """

    boxes: Floats
    confidences: Floats
    class_ids: Ints
    margins: Floats

    def __len__(self) -> int:
        return len(self.confidences)

    @classmethod
    def none(cls) -> Detections:
        empty = np.empty(0, dtype=np.float32)
        return cls(np.empty((0, 4), np.float32), empty, np.empty(0, np.int32), empty)


class Detector(Protocol):
    """A loaded model. Any number of threads may prepare and infer at a time; where the runtime
    cannot take as many at once, they wait.

    The two halves are apart so that some frames can be prepared while the runtime computes
    others.

    Attributes:
        batch_max: frames that one `infer` takes at most.
    """

    batch_max: int

    def prepare(self, frames: Sequence[Image], reuse: Prepared | None = None) -> Prepared:
        """1 to `batch_max` frames as input, in the memory of `reuse` where that fits.

        Raises DetectorError where one is not uint8 (H, W, 3), BGR.
        """

    def infer(self, prepared: Prepared) -> tuple[Detections, ...]:
        """The detections of each frame of `prepared`, as the model gives them: before
        calibration and thresholds.

        Raises DetectorError where the runtime fails or answers NaN.
        """

    def close(self) -> None:
        """Let the runtime go; later calls raise DetectorError."""


def detect(detector: Detector, frame: Image) -> Detections:
    """Detections of one frame: uint8 (H, W, 3), BGR. Raises DetectorError as `infer` does."""
    return detector.infer(detector.prepare((frame,)))[0]
