"""The port to an inference runtime, and what a detector answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_agent.detect.letterbox import Prepared
from protocol.windows import CONFIDENCE_FLOOR

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

__all__ = ["CONFIDENCE_FLOOR", "Detections", "Detector", "Floats", "Ints"]


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
    """A loaded model. One thread prepares and one infers at a time.

    `detect` is `infer(prepare(frame))`. The two halves are apart so that the next frame
    can be prepared while the runtime computes this one.
    """

    def prepare(self, frame: npt.NDArray[np.uint8], reuse: Prepared | None = None) -> Prepared:
        """The frame as input tensor, in the memory of `reuse` where that fits this model."""

    def fits(self, prepared: Prepared) -> bool:
        """Whether `prepared` is this model's input (false after a swap to another size)."""

    def infer(self, prepared: Prepared) -> Detections:
        """Run the model. Raises DetectorError where the runtime fails or answers NaN."""

    def detect(self, frame: npt.NDArray[np.uint8]) -> Detections:
        """Detections of `frame`: uint8 (H, W, 3), BGR. Raises DetectorError as `infer` does."""

    def close(self) -> None: ...
