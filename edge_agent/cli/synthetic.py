"""Cameras that need no hardware: moving shapes, the same at every run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.cameras.opening import OpenSource
from edge_agent.cameras.source import CameraSpec, Grab, Image, Source, no_image

FRAMES = 8
SHAPES = 12


@dataclass
class SyntheticSource:
    """Gives the frames again and again until `ending` is set."""

    frames: Sequence[Image]
    ending: threading.Event
    fps: float | None = None
    _next: int = 0

    def read(self, decode: bool = True) -> Grab | None:
        if self.ending.is_set():
            return None
        index = self._next
        self._next += 1
        return Grab(self.frames[index % len(self.frames)] if decode else no_image(), index)

    def close(self) -> None:
        """Nothing is held."""


def opener(width: int, height: int, ending: threading.Event) -> OpenSource:
    """Opens such a source for every camera; each ends after `ending` is set."""
    frames = [picture(width, height, number) for number in range(FRAMES)]

    def opened(_spec: CameraSpec, _connection: str, _limits: object) -> Source:
        return SyntheticSource(frames, ending)

    return opened


def picture(width: int, height: int, number: int) -> Image:
    """uint8 (height, width, 3): coloured rectangles on a gradient, moved by `number`."""
    rng = np.random.default_rng(7)
    down, across = np.mgrid[0:height, 0:width]
    grey = (down * 80 / height + across * 80 / width + 40).astype(np.uint8)
    canvas = np.repeat(grey[..., None], 3, axis=2)
    for _ in range(SHAPES):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(width // 20, width // 5), rng.integers(height // 20, height // 4)
        colour = rng.integers(0, 256, 3)
        x = (x + number * width // (4 * FRAMES)) % width
        canvas[y : y + h, x : x + w] = colour
    return np.ascontiguousarray(canvas)
