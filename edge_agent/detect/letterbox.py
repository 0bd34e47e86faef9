"""Letterbox: a frame of any size into the model's input, and boxes back.

The numbers are those of Ultralytics for a model of fixed input size, to the last bit:
resize by INTER_LINEAR to the rounded size, pad with 114 on both sides, RGB, divide by 255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Memory:
    """The input tensor's memory, and for which geometry each row's padding is painted.

    Attributes:
        array: (capacity, 3, H, W).
    """

    def __init__(self, array: npt.NDArray[np.floating[Any]]) -> None:
        self.array = array
        self._painted: list[tuple[Geometry, float] | None] = [None] * len(array)

    def row(self, index: int, geometry: Geometry, pad: float) -> npt.NDArray[Any]:
        """The memory (3, H, W) of a frame, its padding painted; what it held before is kept
        inside the frame's own rectangle."""
        row: npt.NDArray[Any] = self.array[index]
        if self._painted[index] != (geometry, pad):
            row.fill(pad)
            self._painted[index] = (geometry, pad)
        return row


@dataclass(frozen=True)
class Prepared:
    """Frames as the model's input.

    Attributes:
        memory: where they lie; it may serve again for later frames.
        inners: per frame uint8 (h, w, 3), BGR: resized, without padding, the frame's own.
        geometries: where each frame lies in the tensor.
    """

    memory: Memory
    inners: tuple[Image, ...]
    geometries: tuple[Geometry, ...]

    def __len__(self) -> int:
        return len(self.inners)

    @property
    def tensor(self) -> npt.NDArray[np.floating[Any]]:
        """(N, 3, H, W), float32 or float16, RGB, 0..1."""
        return self.memory.array[: len(self)]


Allocate = Callable[[tuple[int, int, int, int], "np.dtype[Any]"], npt.NDArray[Any]]
"""Makes the memory of a tensor; a GPU's detector has it pinned."""


class Letterbox:
    """Prepares frames for one input size and dtype.

    Args:
        width, height: the model's input, px.
        dtype: of the tensor.
        pad_value: grey level around the frame.
        scale: factor from grey level to tensor value, 1/255 for YOLO.
        batch_max: frames that the memory holds.
        allocate: how that memory is made.
    """

    def __init__(
        self,
        width: int,
        height: int,
        dtype: npt.DTypeLike = np.float32,
        *,
        pad_value: int = 114,
        scale: float = 1 / 255,
        batch_max: int = 1,
        allocate: Allocate = np.empty,
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._shape = (batch_max, 3, height, width)
        self._allocate = allocate
        # Ultralytics divides; multiplying by the reciprocal differs in the last bit.
        self._divisor = np.array(1 / scale, self._dtype)
        self._pad = float(np.array(pad_value, self._dtype) / self._divisor)

    def fits(self, prepared: Prepared) -> bool:
        """Whether frames lie in memory of this input's shape and dtype."""
        array = prepared.memory.array
        return array.shape == self._shape and array.dtype == self._dtype

    def prepare(self, frames: Sequence[Image], reuse: Prepared | None = None) -> Prepared:
        """The tensor of `frames` (each uint8 (H, W, 3), BGR), in the memory of `reuse` if
        it fits.

        Raises DetectorError where one is no such image, or where there are none or too many.
        """
        if not 1 <= len(frames) <= self._shape[0]:
            raise DetectorError(f"{len(frames)} frames at once; the model takes {self._shape[0]}")
        for frame in frames:
            check_frame(frame)
        memory = reuse.memory if reuse is not None and self.fits(reuse) else self._memory()
        height, width = self._shape[2:]
        geometries = tuple(Geometry(f.shape[1], f.shape[0], width, height) for f in frames)
        inners = tuple(map(_resize, frames, geometries))
        for index, (inner, geometry) in enumerate(zip(inners, geometries, strict=True)):
            self._fill(memory.row(index, geometry, self._pad), inner, geometry)
        return Prepared(memory, inners, geometries)

    def _memory(self) -> Memory:
        return Memory(self._allocate(self._shape, self._dtype))

    def _fill(self, row: npt.NDArray[Any], inner: Image, geometry: Geometry) -> None:
        import cv2

        rows = slice(geometry.top, geometry.top + geometry.inner_height)
        columns = slice(geometry.left, geometry.left + geometry.inner_width)
        # Dividing a plane at a time is ten times as fast as cv2.dnn.blobFromImage here.
        for channel, plane in enumerate(reversed(cv2.split(inner))):
            np.divide(plane, self._divisor, out=row[channel, rows, columns])


def check_frame(frame: Image) -> None:
    """Raise DetectorError where `frame` is not uint8 (H, W, 3)."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
        raise DetectorError(
            f"a frame is uint8 (H, W, 3), not {frame.dtype} {frame.shape}; check the camera"
        )


def _resize(frame: Image, geometry: Geometry) -> Image:
    import cv2

    size = (geometry.inner_width, geometry.inner_height)
    resized: Image = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized
