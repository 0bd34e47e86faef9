"""Whatever OpenCV's VideoCapture has opened: a file, a stream, a device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.cameras.images import decode_image
from edge_agent.cameras.pixels import check_size
from edge_agent.cameras.source import CameraSpec, Grab, SourceKind, no_image
from edge_agent.errors import BadImageError, CameraError

FPS_MAX_BELIEVED = 1000.0
FRAMES_MAX_BELIEVED = 1e9
_SHARE_OF_WHOLE = 0.95


class VideoSource:
    """A `cv2.VideoCapture` as a source.

    Raises:
        CameraError: it is not open, or states a picture of over `pixels_max` pixels.
    """

    def __init__(self, capture: Any, spec: CameraSpec, pixels_max: int) -> None:
        self._capture, self._name, self._stored = capture, spec.name, spec.kind.is_stored
        self._next, self._pixels_max = 0, pixels_max
        try:
            self._check()
            self.fps, self._stated_frames = self._stated()
            self._gives_jpegs = spec.kind is SourceKind.STREAM and self._ask_for_jpegs()
        except CameraError:
            capture.release()
            raise

    def read(self, decode: bool = True) -> Grab | None:
        if not self._capture.grab():
            self._end()
            return None
        index = self._next
        self._next += 1
        stream_ms = None if self._stored else self._stream_ms()
        if not decode:
            return Grab(no_image(), index, stream_ms=stream_ms)
        return Grab(self._retrieve(), index, stream_ms=stream_ms)

    def close(self) -> None:
        self._capture.release()

    def _retrieve(self) -> npt.NDArray[Any]:
        done, image = self._capture.retrieve()
        if not done or image is None:
            refused = BadImageError if self._stored else CameraError
            raise refused(f"{self._name} sent a frame that cannot be decoded")
        if not self._gives_jpegs:
            return np.asarray(image)
        try:
            return decode_image(np.asarray(image).tobytes(), self._pixels_max)
        except BadImageError as error:
            raise CameraError(f"{self._name} sent a frame that {error}") from error

    def _ask_for_jpegs(self) -> bool:
        """Whether the stream is MJPEG and its pictures come as they were sent.

        OpenCV would scale each to the size of the first, and decode those that are passed
        over.
        """
        import cv2

        is_mjpeg = int(self._capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
        return is_mjpeg and bool(self._capture.set(cv2.CAP_PROP_FORMAT, -1))

    def _check(self) -> None:
        import cv2

        if not self._capture.isOpened():
            raise CameraError(f"{self._name} does not open; check that it is there and is a video")
        width = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)
        try:
            check_size(width, self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT), self._pixels_max)
        except BadImageError as error:
            raise CameraError(f"{self._name}: {error}") from error

    def _end(self) -> None:
        """A stream's end is a loss; a file that is short says so, once, before it ends."""
        if not self._stored:
            raise CameraError(f"{self._name} sent no frame in time, or closed the connection")
        if not self._next:
            raise CameraError(f"{self._name} holds no frame that can be read; replace it")
        read, stated = self._next, self._stated_frames
        self._stated_frames = 0
        if read < stated * _SHARE_OF_WHOLE:
            raise BadImageError(
                f"{self._name} gave {read} of {stated} frames and no more; the file is damaged"
            )

    def _stream_ms(self) -> float | None:
        import cv2

        position_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return position_ms if math.isfinite(position_ms) else None

    def _stated(self) -> tuple[float | None, int]:
        """Frames per second and, of a file, frames in all; as far as it says."""
        import cv2

        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        frames = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)) if self._stored else 0.0
        return (
            fps if 0 < fps <= FPS_MAX_BELIEVED else None,
            int(frames) if 0 < frames <= FRAMES_MAX_BELIEVED else 0,
        )
