"""Drawing primitives shared by the scenes: painted large, shrunk to smooth edges, pasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.scenes.scene import Box, Image

Colour = tuple[float, float, float]
Mask = NDArray[np.uint8]

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Sprite:
    """A painted object: BGR premultiplied by its opacity, opacity 0..1, boxes in its own pixels."""

    colour: NDArray[np.float32]
    opacity: NDArray[np.float32]
    boxes: tuple[Box, ...]


def mix(old: Colour, new: Colour, share: float) -> Colour:
    """The colour `share` (0..1) of the way from `old` to `new`."""
    b, g, r = (a + (b - a) * share for a, b in zip(old, new, strict=True))
    return (b, g, r)


def rounded_mask(
    shape: tuple[int, int], box: tuple[float, float, float, float], radius: float
) -> Mask:
    """Mask (height, width) of a rounded rectangle with corners x1, y1, x2, y2."""
    mask = np.zeros(shape, np.uint8)
    x1, y1, x2, y2 = (round(v) for v in box)
    r = max(1, min(round(radius), (x2 - x1) // 2, (y2 - y1) // 2))
    cv2.rectangle(mask, (x1 + r, y1), (x2 - r, y2), 255, -1)
    cv2.rectangle(mask, (x1, y1 + r), (x2, y2 - r), 255, -1)
    for cx, cy in ((x1 + r, y1 + r), (x2 - r, y1 + r), (x1 + r, y2 - r), (x2 - r, y2 - r)):
        cv2.circle(mask, (cx, cy), r, 255, -1)
    return mask


def cylinder_shade(
    width: int, x1: float, x2: float, highlight: float = 0.32
) -> NDArray[np.float32]:
    """Brightness factor per column of an upright cylinder that spans x1..x2."""
    t = np.clip((np.arange(width, dtype=np.float32) - x1) / max(x2 - x1, 1), 0, 1)
    body = 0.45 + 0.62 * np.sqrt(np.clip(1 - (1.9 * (t - 0.44)) ** 2, 0, 1))
    gleam = 0.35 * np.exp(-(((t - highlight) / 0.07) ** 2))
    return np.asarray(body + gleam, np.float32)


def fill(
    image: NDArray[np.float32],
    mask: Mask,
    colour: Colour,
    shade: NDArray[np.float32] | float = 1.0,
) -> None:
    """Paint `colour`, times `shade` (per column or one number), where `mask` is set, in place."""
    x, y, width, height = cv2.boundingRect(mask)
    columns = np.broadcast_to(np.asarray(shade, np.float32), image.shape[1])[x : x + width]
    painted = columns[:, None] * np.asarray(colour, np.float32)
    region = mask[y : y + height, x : x + width, None] > 0
    np.copyto(image[y : y + height, x : x + width], painted, where=region)


def stroke(
    image: NDArray[np.float32] | Mask, path: NDArray[np.float64], colour: Colour, width: float
) -> None:
    """Draw an open line through `path` (n, 2), in place; path and width are in final pixels."""
    fraction_bits = 4
    points = np.round(path * (SUPERSAMPLING << fraction_bits)).astype(np.int32)[:, None]
    thickness = max(1, round(width * SUPERSAMPLING))
    cv2.polylines(image, [points], False, colour, thickness, cv2.LINE_AA, fraction_bits)


def soften(plane: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """`plane` (height, width) blurred by `radius` final pixels."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), radius * SUPERSAMPLING), np.float32)


def shrink(
    image: NDArray[np.float32], opacity: NDArray[np.float32], boxes: Sequence[Box]
) -> Sprite:
    """Sprite from a painting made `SUPERSAMPLING` times too large; boxes are in final pixels."""
    height, width = opacity.shape
    size = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    colour = cv2.resize(
        np.clip(image, 0, 255) * opacity[..., None], size, interpolation=cv2.INTER_AREA
    )
    small = cv2.resize(opacity, size, interpolation=cv2.INTER_AREA)
    return Sprite(np.asarray(colour, np.float32), np.asarray(small, np.float32), tuple(boxes))


def paste(canvas: Image, sprite: Sprite, x: int, y: int) -> list[Box]:
    """Put the sprite's top left corner at (x, y), in place; its boxes in canvas pixels."""
    height, width = sprite.opacity.shape
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = min(canvas.shape[1], x + width), min(canvas.shape[0], y + height)
    if x1 < x2 and y1 < y2:
        rows, columns = slice(y1 - y, y2 - y), slice(x1 - x, x2 - x)
        under = canvas[y1:y2, x1:x2]
        blended = under * (1 - sprite.opacity[rows, columns, None]) + sprite.colour[rows, columns]
        canvas[y1:y2, x1:x2] = np.clip(blended, 0, 255).astype(np.uint8)
    return [Box(b.class_id, b.x1 + x, b.y1 + y, b.x2 + x, b.y2 + y) for b in sprite.boxes]


def brushed_metal(shape: tuple[int, int], colour: Colour, rng: np.random.Generator) -> Image:
    """Background (height, width, 3): horizontal grain over a vertical gradient."""
    height, width = shape
    grain = rng.standard_normal((height, width)).astype(np.float32)
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), sigmaX=14, sigmaY=0.6), np.float32) * 26
    gradient = np.linspace(1.12, 0.82, height, dtype=np.float32)[:, None, None]
    painted = gradient * np.asarray(colour, np.float32) + grain[..., None]
    return np.asarray(np.clip(painted, 0, 255), np.uint8)
