"""Letterbox: a frame of any size into the model's input, and boxes back.

The numbers are those of Ultralytics for a model of fixed input size, to the last bit:
resize by INTER_LINEAR to the rounded size, pad with 114 on both sides, RGB, divide by 255.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Geometry:
    """Where a frame of `frame_width` x `frame_height` px lies in the model's input, in px."""

    frame_width: int
    frame_height: int
    input_width: int
    input_height: int
    inner_width: int = field(init=False)
    inner_height: int = field(init=False)
    left: int = field(init=False)
    top: int = field(init=False)

    def __post_init__(self) -> None:
        gain = min(self.input_height / self.frame_height, self.input_width / self.frame_width)
        width = max(round(self.frame_width * gain), 1)
        height = max(round(self.frame_height * gain), 1)
        object.__setattr__(self, "inner_width", width)
        object.__setattr__(self, "inner_height", height)
        # The 0.1 decides which side gets the odd pixel; Ultralytics rounds so.
        object.__setattr__(self, "left", round((self.input_width - width) / 2 - 0.1))
        object.__setattr__(self, "top", round((self.input_height - height) / 2 - 0.1))

    def to_frame(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes (N, 4) from input pixels to frame pixels, clipped to the frame."""
        scaled = boxes - np.array([self.left, self.top] * 2, dtype=np.float32)
        scaled[:, 0::2] /= self.inner_width / self.frame_width
        scaled[:, 1::2] /= self.inner_height / self.frame_height
        np.clip(scaled[:, 0::2], 0, self.frame_width, out=scaled[:, 0::2])
        np.clip(scaled[:, 1::2], 0, self.frame_height, out=scaled[:, 1::2])
        return scaled

    def to_input(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes (N, 4) from frame pixels to input pixels; the inverse of `to_frame`."""
        scaled = boxes.astype(np.float32, copy=True)
        scaled[:, 0::2] *= self.inner_width / self.frame_width
        scaled[:, 1::2] *= self.inner_height / self.frame_height
        shifted: npt.NDArray[np.float32] = scaled + np.array(
            [self.left, self.top] * 2, dtype=np.float32
        )
        return shifted


@dataclass
class Prepared:
    """A frame as the model's input; its memory is used again for a later frame.

    Attributes:
        tensor: (1, 3, H, W), float, RGB, 0..1.
        inner: uint8 (h, w, 3), BGR: the resized frame without padding.
        geometry: where the frame lies in the tensor.
    """

    tensor: npt.NDArray[np.float32]
    inner: npt.NDArray[np.uint8]
    geometry: Geometry
