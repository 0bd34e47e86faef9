"""One image file, read with suspicion: its header first, its pixels only if they fit."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_agent.cameras.pixels import bgr, check_size
from edge_agent.cameras.source import Image
from edge_agent.errors import BadImageError


@dataclass(frozen=True)
class ImageLimits:
    """Bounds of one picture.

    Attributes:
        pixels_max: pixels of a picture of any source; 8K (7680x4320) has 33 million.
        file_bytes_max: size of an image file.
    """

    pixels_max: int = 64_000_000
    file_bytes_max: int = 256 * 1024 * 1024


DEFAULT_LIMITS = ImageLimits()


def read_image(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> Image:
    """The image at `path`: uint8 (H, W, 3), BGR, contiguous.

    It is what OpenCV decodes from memory, and so what Ultralytics sees: turned as its EXIF
    says, without its alpha, the upper 8 of 16 bits, the first of several pages.

    Raises:
        BadImageError: it is no regular file, no image, too large, or cannot be read.
    """
    data = _read(path, limits.file_bytes_max)
    try:
        return decode_image(data, limits.pixels_max)
    except BadImageError as error:
        raise BadImageError(f"{path.name}: {error}") from error


def check_image(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> None:
    """Raise BadImageError where `read_image` would refuse the file by its header."""
    data = _read(path, limits.file_bytes_max)
    try:
        check_size(*_stated_size(data), limits.pixels_max)
    except BadImageError as error:
        raise BadImageError(f"{path.name}: {error}") from error


def decode_image(data: bytes, pixels_max: int) -> Image:
    """An encoded image as uint8 (H, W, 3), BGR, contiguous.

    Raises:
        BadImageError: it is no image, or its header states over `pixels_max` pixels.
    """
    width, height = _stated_size(data)
    check_size(width, height, pixels_max)
    return bgr(_decoded(data), pixels_max)


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadImageError(f"{path.name} is no regular file; remove it")
            too_large = status.st_size > bytes_max
            data = b"" if too_large else file.read(bytes_max + 1)
    except OSError as error:
        raise BadImageError(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadImageError(f"{path.name} cannot be read: {error}") from error
    if too_large or len(data) > bytes_max:
        raise BadImageError(f"{path.name} is over {bytes_max} bytes; make it smaller")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """A named pipe that nobody writes to would hold this thread for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _stated_size(data: bytes) -> tuple[float, float]:
    """Width and height that the header states. Raises BadImageError where there is none."""
    import imagesize

    try:
        width, height = imagesize.get(io.BytesIO(data))
    except Exception as error:
        # The parser meets hostile bytes; whatever it trips over, this is no image.
        raise BadImageError("is no image; replace or remove it") from error
    if width <= 0 or height <= 0:
        raise BadImageError("is no image; replace or remove it")
    return width, height


def _decoded(data: bytes) -> npt.NDArray[np.uint8]:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise BadImageError(f"is no image: {error.err or error}") from error
    if image is None:
        raise BadImageError("is no image; replace or remove it")
    return np.asarray(image, dtype=np.uint8)
