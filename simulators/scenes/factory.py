"""A bottling line: canisters on a conveyor, some scratched, dented, uncapped or badly labelled.

Part number `i` looks the same in every frame; a drift dial changes its paint, not its flaws.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from simulators.scenes.canister import CLASS_NAMES, paint_canister
from simulators.scenes.optics import MARGIN_PX, Optics
from simulators.scenes.scene import Box, Drift, Image
from simulators.scenes.sprites import Sprite, brushed_metal, paste

_SIZE = (320, 320)
_SPACING_PX = 122
_BELT_Y = 246
_PARTS_IN_SIGHT = 4
_CACHED_PARTS = 64


class FactoryScene:
    """Conveyor with one part every 122 px, moving `speed_px` to the right from frame to frame."""

    name = "factory"
    class_names = CLASS_NAMES
    size = _SIZE

    def __init__(self, seed: int = 0, speed_px: int = 6) -> None:
        self._seed = seed
        self._speed_px = speed_px
        self._optics = Optics(_SIZE, seed)
        self._background = _paint_hall(np.random.default_rng([seed, 11]))
        self._belt = _paint_belt(np.random.default_rng([seed, 12]))
        self._part = lru_cache(maxsize=_CACHED_PARTS)(self._paint_part)

    def render(self, frame_number: int, drift: Drift) -> tuple[Image, tuple[Box, ...]]:
        """Frame (320, 320, 3), BGR, and its boxes; see `Scene.render`."""
        travel = frame_number * self._speed_px
        canvas = self._background.copy()
        top = _BELT_Y + MARGIN_PX
        canvas[top:] = np.roll(self._belt, travel % self._belt.shape[1], axis=1)[
            :, : canvas.shape[1]
        ]
        boxes: list[Box] = []
        for number in range(travel // _SPACING_PX - _PARTS_IN_SIGHT, travel // _SPACING_PX + 2):
            wobble = np.random.default_rng([self._seed, 13, number & 0xFFFFFFFF]).integers(-7, 8, 2)
            x = travel - number * _SPACING_PX + int(wobble[0])
            y = MARGIN_PX + 58 + int(wobble[1]) // 2
            boxes += paste(canvas, self._part(number, drift.packaging, drift.new_defect), x, y)
        return self._optics.expose(canvas, boxes, frame_number, drift)

    def _paint_part(self, number: int, packaging: float, new_defect: float) -> Sprite:
        rng = np.random.default_rng([self._seed, 14, number & 0xFFFFFFFF])
        return paint_canister(rng, packaging, new_defect)


def _paint_hall(rng: np.random.Generator) -> Image:
    """Machine wall with seams, bolts and a guide rail, margin included."""
    width, height = _SIZE[0] + 2 * MARGIN_PX, _SIZE[1] + 2 * MARGIN_PX
    hall = brushed_metal((height, width), (118, 112, 104), rng)
    for x in range(20, width, 130):
        cv2.line(hall, (x, 0), (x, height), (70, 66, 62), 2, cv2.LINE_AA)
        cv2.line(hall, (x + 2, 0), (x + 2, height), (150, 146, 140), 1, cv2.LINE_AA)
        for y in range(24, height, 70):
            cv2.circle(hall, (x + 12, y), 4, (84, 80, 76), -1, cv2.LINE_AA)
            cv2.circle(hall, (x + 11, y - 1), 2, (168, 164, 158), -1, cv2.LINE_AA)
    rail = MARGIN_PX + 186
    cv2.rectangle(hall, (0, rail), (width, rail + 12), (60, 62, 66), -1)
    cv2.line(hall, (0, rail + 3), (width, rail + 3), (176, 178, 182), 2, cv2.LINE_AA)
    return hall


def _paint_belt(rng: np.random.Generator) -> Image:
    """Belt of rubber with cross ribs; its width is a whole number of rib periods, so it rolls."""
    height = _SIZE[1] + MARGIN_PX - _BELT_Y
    belt = brushed_metal((height, 480), (52, 54, 52), rng)
    for x in range(0, 480, 40):
        cv2.line(belt, (x, 0), (x - 12, height), (34, 35, 34), 3, cv2.LINE_AA)
    belt[:5] = (92, 96, 98)
    belt[-MARGIN_PX - 14 :] = (40, 42, 46)
    return belt
