"""Images as the shipped letterbox prepares them, for calibration and for PyTorch's reference.

The hub may not import the agent, so its few lines stand here again; a test holds the two
against each other, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.building.order import OrderRefused

PAD_VALUE = 114
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Placed:
    """Where a frame of `frame_width` x `frame_height` px lies in the input, in px."""

    frame_width: int
    frame_height: int
    inner_width: int
    inner_height: int
    left: int
    top: int

    def to_frame(self, boxes: Floats) -> Floats:
        """Boxes (N, 4) from input pixels to frame pixels, clipped to the frame."""
        scaled = boxes - np.array([self.left, self.top] * 2, dtype=np.float32)
        scaled[:, 0::2] /= self.inner_width / self.frame_width
        scaled[:, 1::2] /= self.inner_height / self.frame_height
        np.clip(scaled[:, 0::2], 0, self.frame_width, out=scaled[:, 0::2])
        np.clip(scaled[:, 1::2], 0, self.frame_height, out=scaled[:, 1::2])
        return scaled


def place(frame_width: int, frame_height: int, width: int, height: int) -> Placed:
    """Centred, as large as fits; Ultralytics' rounding."""
    gain = min(height / frame_height, width / frame_width)
    inner_width = max(round(frame_width * gain), 1)
    inner_height = max(round(frame_height * gain), 1)
    left = round((width - inner_width) / 2 - 0.1)
    top = round((height - inner_height) / 2 - 0.1)
    return Placed(frame_width, frame_height, inner_width, inner_height, left, top)


def letterbox(frame: npt.NDArray[np.uint8], width: int, height: int) -> tuple[Floats, Placed]:
    """The input (1, 3, height, width), float32, RGB, 0..1, of a frame uint8 (H, W, 3), BGR."""
    import cv2

    placed = place(frame.shape[1], frame.shape[0], width, height)
    size = (placed.inner_width, placed.inner_height)
    inner: Any = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    divisor = np.float32(255)
    tensor = np.full((1, 3, height, width), np.float32(PAD_VALUE) / divisor, np.float32)
    rows = slice(placed.top, placed.top + placed.inner_height)
    columns = slice(placed.left, placed.left + placed.inner_width)
    # Ultralytics divides; multiplying by the reciprocal differs in the last bit.
    tensor[0, :, rows, columns] = inner[:, :, ::-1].transpose(2, 0, 1) / divisor
    return tensor, placed


def read(path: Path) -> npt.NDArray[np.uint8]:
    """An image as uint8 (H, W, 3), BGR. Raises OrderRefused where it is none."""
    import cv2

    found = cv2.imread(str(path), cv2.IMREAD_COLOR_BGR)
    if found is None:
        raise OrderRefused(f"{path.name} is no image that can be read", "leave it out")
    return np.asarray(found, np.uint8)


def prepared(paths: Sequence[Path], width: int, height: int, batch: int = 1) -> Iterator[Floats]:
    """Inputs (batch, 3, height, width); an image fills its whole batch.

    Raises OrderRefused where one is no image.
    """
    for path in paths:
        tensor, _ = letterbox(read(path), width, height)
        yield np.repeat(tensor, batch, axis=0)
