"""Pure work on pixels: one form for all sources, rotation, region, and what has changed."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.cameras.source import Image, Region
from edge_agent.errors import BadImageError

FINGERPRINT_STRIDE = 16


def bgr(picture: npt.NDArray[Any], pixels_max: int) -> Image:
    """The picture as uint8 (H, W, 3), BGR, contiguous; itself where it is so already.

    Grey becomes three equal channels, alpha is left out, 16 bits become the upper 8.

    Raises:
        BadImageError: it is no picture, or has more than `pixels_max` pixels.
    """
    import cv2

    if picture.ndim not in (2, 3) or not picture.size or picture.shape[2:] not in _CHANNELS:
        raise BadImageError(f"a frame of shape {picture.shape} is no picture; check the source")
    check_size(picture.shape[1], picture.shape[0], pixels_max)
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.dtype != np.uint8:
        raise BadImageError(f"a frame of {picture.dtype} is no picture; let the source send 8 bits")
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if channels == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    elif channels == 4:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    return np.ascontiguousarray(picture)


def check_size(width: float, height: float, pixels_max: int) -> None:
    """Raise BadImageError where a picture is too large for the device's memory."""
    if width * height > pixels_max:
        raise BadImageError(
            f"a picture of {width:.0f}x{height:.0f} has over {pixels_max} pixels; "
            "send a smaller one, or raise image_pixels_max"
        )


def orient(image: Image, rotate: int, region: Region | None) -> Image:
    """The region of the rotated picture; contiguous, and itself where nothing is asked.

    Args:
        rotate: degrees clockwise: 0, 90, 180 or 270.
        region: shares of the rotated picture, rounded to whole pixels, one at least.
    """
    import cv2

    turns = {
        90: cv2.ROTATE_90_CLOCKWISE,
        180: cv2.ROTATE_180,
        270: cv2.ROTATE_90_COUNTERCLOCKWISE,
    }
    if rotate:
        image = np.asarray(cv2.rotate(image, turns[rotate]), dtype=np.uint8)
    if region is not None:
        rows = _span(region.y, region.height, image.shape[0])
        columns = _span(region.x, region.width, image.shape[1])
        image = image[rows, columns]
    return np.ascontiguousarray(image)


def fingerprint(image: Image) -> int:
    """A number that changes with the picture, from every 16th pixel of every 16th row."""
    return zlib.crc32(image[::FINGERPRINT_STRIDE, ::FINGERPRINT_STRIDE].tobytes())


_CHANNELS: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (4,))


def _span(start: float, share: float, pixels: int) -> slice:
    first = min(round(start * pixels), pixels - 1)
    return slice(first, min(max(first + 1, round((start + share) * pixels)), pixels))
