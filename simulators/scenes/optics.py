"""From a painted canvas to what a camera sees: its position, the light, the lens, the sensor."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.scenes.scene import Box, Drift, Image

MARGIN_PX = 40
"""The canvas is larger than the frame by this on each side, so that a moved camera sees scene."""

_VISIBLE_SHARE_MIN = 0.45
_WARM_TINT = np.array([0.62, 0.90, 1.08], np.float32)
_NOISE_LEVELS = 3.0
_NOISE_POOL_PX = 96


class Optics:
    """One camera over a canvas of `MARGIN_PX` more than `size` (width, height) on every side."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        self._size = size
        width, height = size
        rng = np.random.default_rng([seed, 77])
        noise_shape = (height + _NOISE_POOL_PX, width + _NOISE_POOL_PX, 3)
        self._noise = rng.standard_normal(noise_shape).astype(np.float32)
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        centre = np.hypot(xs / width - 0.5, ys / height - 0.5)
        lamp = np.hypot(xs / width - 0.85, ys / height - 0.1)
        self._even_light = (1.04 - 0.18 * centre**2)[..., None]
        self._failing_light = (0.62 - 0.42 * np.clip(lamp, 0, 1))[..., None] * _WARM_TINT

    def expose(
        self, canvas: Image, boxes: list[Box], frame_number: int, drift: Drift
    ) -> tuple[Image, tuple[Box, ...]]:
        """What the sensor records: frame (height, width, 3), BGR, and boxes inside of it."""
        matrix = self._view(drift.shift)
        width, height = self._size
        seen = cv2.warpAffine(
            canvas, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        if drift.blur > 0:
            seen = cv2.GaussianBlur(seen, (0, 0), 2.6 * drift.blur)
        light = self._even_light * (1 - drift.lighting) + self._failing_light * drift.lighting
        light = light * (1 + 0.015 * math.sin(frame_number * 0.7))
        dx, dy = (frame_number * 37) % _NOISE_POOL_PX, (frame_number * 59) % _NOISE_POOL_PX
        noise = self._noise[dy : dy + height, dx : dx + width]
        lit = seen.astype(np.float32) * light + noise * (_NOISE_LEVELS * (1 + drift.lighting))
        frame = np.clip(lit, 0, 255).astype(np.uint8)
        return frame, _visible(boxes, matrix, self._size)

    def _view(self, shift: float) -> NDArray[np.float64]:
        """Affine matrix from canvas pixels to frame pixels."""
        width, height = self._size
        turn = cv2.getRotationMatrix2D(
            (width / 2 + MARGIN_PX, height / 2 + MARGIN_PX), 5.0 * shift, 1 - 0.16 * shift
        )
        turn[0, 2] += -MARGIN_PX + 0.05 * width * shift
        turn[1, 2] += -MARGIN_PX - 0.06 * height * shift
        return np.asarray(turn, np.float64)


def _visible(
    boxes: list[Box], matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[Box, ...]:
    """Boxes in frame pixels, cut at its edge; those mostly outside are left out."""
    width, height = size
    seen = []
    for box in boxes:
        corners = np.array(
            [[box.x1, box.y1, 1], [box.x2, box.y1, 1], [box.x1, box.y2, 1], [box.x2, box.y2, 1]]
        )
        points = corners @ matrix.T
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        x1, x2 = max(0.0, left), min(float(width), right)
        y1, y2 = max(0.0, top), min(float(height), bottom)
        area = (right - left) * (bottom - top)
        if x2 > x1 and y2 > y1 and (x2 - x1) * (y2 - y1) >= _VISIBLE_SHARE_MIN * area:
            seen.append(Box(box.class_id, float(x1), float(y1), float(x2), float(y2)))
    return tuple(seen)
