"""Letterbox: a frame of any size into the model's input, and boxes back.

The numbers are those of Ultralytics for a model of fixed input size, to the last bit:
resize by INTER_LINEAR to the rounded size, pad with 114 on both sides, RGB, divide by 255.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import DetectorError

Image = npt.NDArray[np.uint8]


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


@dataclass(frozen=True)
class Prepared:
    """A frame as the model's input.

    Attributes:
        tensor: (1, 3, H, W), float32 or float16, RGB, 0..1; its memory may serve again for a
            later frame.
        inner: uint8 (h, w, 3), BGR: the resized frame without padding, this frame's own.
        geometry: where the frame lies in the tensor.
    """

    tensor: npt.NDArray[np.floating[Any]]
    inner: Image
    geometry: Geometry


class Letterbox:
    """Prepares frames for one input size and dtype.

    Args:
        width, height: the model's input, px.
        dtype: of the tensor.
        pad_value: grey level around the frame.
        scale: factor from grey level to tensor value, 1/255 for YOLO.
    """

    def __init__(
        self,
        width: int,
        height: int,
        dtype: npt.DTypeLike = np.float32,
        pad_value: int = 114,
        scale: float = 1 / 255,
    ) -> None:
        self._width, self._height = width, height
        self._dtype = np.dtype(dtype)
        # Ultralytics divides; multiplying by the reciprocal differs in the last bit.
        self._divisor = np.array(1 / scale, self._dtype)
        self._pad = np.array(pad_value, self._dtype) / self._divisor

    def fits(self, prepared: Prepared) -> bool:
        """Whether a tensor has this input's shape and dtype."""
        wanted = (1, 3, self._height, self._width)
        return prepared.tensor.shape == wanted and prepared.tensor.dtype == self._dtype

    def prepare(self, frame: Image, reuse: Prepared | None = None) -> Prepared:
        """The tensor of `frame` (uint8 (H, W, 3), BGR), in the memory of `reuse` if it fits.

        Raises DetectorError where `frame` is no such image.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise DetectorError(
                f"a frame is uint8 (H, W, 3), not {frame.dtype} {frame.shape}; check the camera"
            )
        geometry = Geometry(frame.shape[1], frame.shape[0], self._width, self._height)
        tensor = self._padded(geometry, reuse)
        inner = self._resize(frame, geometry)
        self._fill(tensor, inner, geometry)
        return Prepared(tensor, inner, geometry)

    def _padded(self, geometry: Geometry, reuse: Prepared | None) -> npt.NDArray[np.floating[Any]]:
        """A tensor whose padding is filled in; only a new geometry needs it done again."""
        if reuse is None or not self.fits(reuse):
            return np.full((1, 3, self._height, self._width), self._pad, self._dtype)
        if reuse.geometry != geometry:
            reuse.tensor.fill(self._pad)
        return reuse.tensor

    def _resize(self, frame: Image, geometry: Geometry) -> Image:
        import cv2

        size = (geometry.inner_width, geometry.inner_height)
        resized: Image = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        return resized

    def _fill(
        self, tensor: npt.NDArray[np.floating[Any]], inner: Image, geometry: Geometry
    ) -> None:
        import cv2

        rows = slice(geometry.top, geometry.top + geometry.inner_height)
        columns = slice(geometry.left, geometry.left + geometry.inner_width)
        # Dividing a plane at a time is ten times as fast as cv2.dnn.blobFromImage here.
        for channel, plane in enumerate(reversed(cv2.split(inner))):
            np.divide(plane, self._divisor, out=tensor[0, channel, rows, columns])
