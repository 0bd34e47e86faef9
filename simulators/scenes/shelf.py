"""A retail shelf: three boards of facings, with gaps where stock ran out and misplaced products.

Each bay keeps what stands in it for a while and then changes, every bay in its own rhythm, so that
neighbouring frames are alike and the run shows many arrangements.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.scenes.optics import MARGIN_PX, Optics
from simulators.scenes.scene import Box, Drift, Image
from simulators.scenes.sprites import (
    SUPERSAMPLING,
    Colour,
    Sprite,
    brushed_metal,
    cylinder_shade,
    fill,
    mix,
    paste,
    rounded_mask,
    shrink,
    soften,
)

FACING, GAP, WRONG_PRODUCT, TORN_PACK = range(4)

_SIZE = (320, 320)
_ROWS, _COLUMNS = 3, 4
_BAY = (76, 92)
_BOARD_PITCH_PX = 104
_LEFT_PX, _TOP_PX = 8, 6
_GAP_SHARE, _WRONG_SHARE, _TORN_SHARE = 0.22, 0.2, 0.45
_CACHED_BAYS = 128

_OLD_PACKS: tuple[Colour, ...] = ((52, 60, 206), (206, 132, 44), (74, 168, 62))
_NEW_PACKS: tuple[Colour, ...] = ((196, 214, 226), (88, 52, 120), (44, 176, 232))
_OLD_INK: Colour = (244, 246, 248)
_NEW_INK: Colour = (52, 40, 36)
_WRONG_BODY: Colour = (60, 60, 60)
_WRONG_STRIPE: Colour = (180, 80, 230)


class ShelfScene:
    """Three boards of four bays; a bay's content changes every `hold_frames` frames on average."""

    name = "shelf"
    class_names = ("facing", "gap", "wrong_product", "torn_pack")
    size = _SIZE

    def __init__(self, seed: int = 0, hold_frames: int = 60) -> None:
        self._seed = seed
        self._hold_frames = hold_frames
        self._optics = Optics(_SIZE, seed)
        self._background = _paint_rack(np.random.default_rng([seed, 21]))
        self._bay = lru_cache(maxsize=_CACHED_BAYS)(self._paint_bay)

    def render(self, frame_number: int, drift: Drift) -> tuple[Image, tuple[Box, ...]]:
        """Frame (320, 320, 3), BGR, and its boxes; see `Scene.render`."""
        canvas = self._background.copy()
        boxes: list[Box] = []
        for bay in range(_ROWS * _COLUMNS):
            row, column = divmod(bay, _COLUMNS)
            phase = (bay * 7919) % self._hold_frames
            turn = (frame_number + phase) // self._hold_frames
            sprite = self._bay(bay, turn, drift.packaging, drift.new_defect)
            x = MARGIN_PX + _LEFT_PX + column * _BAY[0]
            y = MARGIN_PX + _TOP_PX + row * _BOARD_PITCH_PX
            boxes += paste(canvas, sprite, x, y)
        return self._optics.expose(canvas, boxes, frame_number, drift)

    def _paint_bay(self, bay: int, turn: int, packaging: float, new_defect: float) -> Sprite:
        rng = np.random.default_rng([self._seed, 23, bay, turn])
        content, torn_rank = rng.random(2)
        painter = _BayPainter(rng)
        if content < _GAP_SHARE:
            painter.gap()
        elif content < _GAP_SHARE + _WRONG_SHARE:
            painter.wrong_product()
        else:
            painter.facing(bay // _COLUMNS, packaging)
            if torn_rank < _TORN_SHARE * new_defect:
                painter.tear()
        return painter.sprite()


class _BayPainter:
    """Paints what stands in one bay, `SUPERSAMPLING` times too large."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._shape = (_BAY[1] * SUPERSAMPLING, _BAY[0] * SUPERSAMPLING)
        self._image = np.zeros((*self._shape, 3), np.float32)
        self._opacity = np.zeros(self._shape, np.float32)
        self._boxes: list[Box] = []
        self._tone = float(rng.uniform(0.9, 1.06))
        self._lean_px = float(rng.uniform(-5, 5))
        self._outline = (0.0, 0.0, 0.0, 0.0)

    def sprite(self) -> Sprite:
        return shrink(self._image, self._opacity, self._boxes)

    def gap(self) -> None:
        """An empty bay: the back panel in shadow, deepest below the board above."""
        box = (6.0, 8.0, _BAY[0] - 6.0, float(_BAY[1]))
        height = self._shape[0]
        depth = np.linspace(1.0, 0.35, height, dtype=np.float32)[:, None]
        hole = soften((self._mask(box, 3) / 255.0).astype(np.float32), 3.0)
        self._opacity = np.asarray(hole * (0.28 + 0.5 * depth), np.float32)
        self._image[:] = (22, 22, 26)
        self._boxes.append(Box(GAP, *box))

    def facing(self, board: int, packaging: float) -> None:
        """The board's own product: a carton, a tin or a bottle."""
        body = mix(_OLD_PACKS[board], _NEW_PACKS[board], packaging)
        ink = mix(_OLD_INK, _NEW_INK, packaging)
        paint = (self._carton, self._tin, self._bottle)[board]
        paint(self._toned(body), self._toned(ink), packaging)
        self._boxes.append(Box(FACING, *self._outline))

    def wrong_product(self) -> None:
        """A jar of another brand, black with a pink slash, that no board of this rack carries."""
        x1, x2, top = 15 + self._lean_px, 61 + self._lean_px, 26 + float(self._rng.uniform(-4, 4))
        self._set_down(x1, top, x2)
        shade = self._shade(x1, x2)
        self._paint((x1, top + 12, x2, 91), 12, self._toned(_WRONG_BODY), shade)
        self._paint((x1 + 5, top, x2 - 5, top + 14), 4, self._toned(_WRONG_STRIPE), shade)
        centre = (round((x1 + x2) / 2 * SUPERSAMPLING), round((top + 44) * SUPERSAMPLING))
        cv2.circle(
            self._image, centre, 14 * SUPERSAMPLING, self._toned(_WRONG_STRIPE), -1, cv2.LINE_AA
        )
        cv2.circle(self._image, centre, 7 * SUPERSAMPLING, (240, 240, 240), -1, cv2.LINE_AA)
        self._boxes.append(Box(WRONG_PRODUCT, *self._outline))

    def tear(self) -> None:
        """Torn wrapping: a pale ragged patch with a dark edge."""
        left, top, right, bottom = self._outline
        x = float(self._rng.uniform(left + 15, right - 15))
        y = float(self._rng.uniform(top + 24, bottom - 22))
        angles = np.linspace(0, 2 * np.pi, 15)[:-1]
        radii = self._rng.uniform(8, 15, angles.size)
        patch = np.stack((x + radii * np.cos(angles), y + radii * np.sin(angles)), axis=1)
        points = np.round(patch * SUPERSAMPLING).astype(np.int32)
        cv2.fillPoly(self._image, [points], (206, 226, 236), cv2.LINE_AA)
        cv2.polylines(self._image, [points], True, (24, 30, 40), 3, cv2.LINE_AA)
        (x1, y1), (x2, y2) = patch.min(axis=0), patch.max(axis=0)
        self._boxes.append(Box(TORN_PACK, float(x1), float(y1), float(x2), float(y2)))

    def _carton(self, body: Colour, ink: Colour, packaging: float) -> None:
        x1, x2, top = 9 + self._lean_px, 67 + self._lean_px, 14 + float(self._rng.uniform(-3, 3))
        self._set_down(x1, top, x2)
        shade = np.linspace(1.06, 0.84, self._shape[1], dtype=np.float32)
        self._paint((x1, top, x2, 91), 3, body, shade)
        self._paint((x1, top, x2, top + 7), 2, body, shade * 0.75)
        band = top + 22 + 24 * packaging
        self._paint((x1, band, x2, band + 20), 1, ink, shade)
        self._lines(x1 + 8, x2 - 8, band + 5, body)

    def _tin(self, body: Colour, ink: Colour, packaging: float) -> None:
        x1, x2, top = 13 + self._lean_px, 63 + self._lean_px, 26 + float(self._rng.uniform(-3, 3))
        self._set_down(x1, top, x2)
        shade = self._shade(x1, x2)
        self._paint((x1, top, x2, 91), 7, (196, 198, 200), shade)
        self._paint((x1, top + 7, x2, 86), 2, body, shade)
        middle = round((top + 47) * SUPERSAMPLING)
        axes = (round((13 + 5 * packaging) * SUPERSAMPLING), round(13 * SUPERSAMPLING))
        centre = (round((x1 + x2) / 2 * SUPERSAMPLING), middle)
        cv2.ellipse(self._image, centre, axes, 0, 0, 360, ink, -1, cv2.LINE_AA)
        self._lines((x1 + x2) / 2 - 8, (x1 + x2) / 2 + 8, top + 42, body)

    def _bottle(self, body: Colour, ink: Colour, packaging: float) -> None:
        x1, x2, top = 17 + self._lean_px, 59 + self._lean_px, 8 + float(self._rng.uniform(-2, 4))
        self._set_down(x1, top, x2)
        shade = self._shade(x1, x2)
        self._paint((x1 + 12, top, x2 - 12, top + 12), 2, ink, shade)
        self._paint((x1 + 14, top + 11, x2 - 14, top + 34), 3, body, shade)
        self._paint((x1, top + 26, x2, 91), 14, body, shade)
        label = top + 46 - 6 * packaging
        self._paint((x1, label, x2, label + 24), 1, ink, shade)
        self._lines(x1 + 8, x2 - 8, label + 6, body)

    def _set_down(self, x1: float, top: float, x2: float) -> None:
        """Note the outline and lay the soft shadow that the object throws on the back panel."""
        self._outline = (x1, top, x2, 91.0)
        shadow = self._mask((x1 - 2, top + 5, x2 + 5, 92), 6)
        soft = soften(shadow.astype(np.float32), 3.0)
        self._opacity = np.asarray(soft / 255.0 * 0.6, np.float32)

    def _lines(self, x1: float, x2: float, y: float, ink: Colour) -> None:
        for row in range(2):
            end = x2 - float(self._rng.uniform(0, (x2 - x1) / 3))
            self._paint((x1, y + row * 6, end, y + row * 6 + 3), 1, ink, 0.8)

    def _paint(
        self,
        box: tuple[float, float, float, float],
        radius: float,
        colour: Colour,
        shade: NDArray[np.float32] | float,
    ) -> None:
        mask = self._mask(box, radius)
        fill(self._image, mask, colour, shade)
        self._opacity[mask > 0] = 1.0

    def _toned(self, colour: Colour) -> Colour:
        b, g, r = colour
        return (b * self._tone, g * self._tone, r * self._tone)

    def _mask(self, box: tuple[float, float, float, float], radius: float) -> NDArray[np.uint8]:
        x1, y1, x2, y2 = (v * SUPERSAMPLING for v in box)
        return rounded_mask(self._shape, (x1, y1, x2, y2), radius * SUPERSAMPLING)

    def _shade(self, x1: float, x2: float) -> NDArray[np.float32]:
        return cylinder_shade(self._shape[1], x1 * SUPERSAMPLING, x2 * SUPERSAMPLING)


def _paint_rack(rng: np.random.Generator) -> Image:
    """Back panel with perforations, boards with price rails, margin included."""
    width, height = _SIZE[0] + 2 * MARGIN_PX, _SIZE[1] + 2 * MARGIN_PX
    rack = brushed_metal((height, width), (176, 184, 188), rng)
    for y in range(8, height, 16):
        for x in range(8, width, 16):
            cv2.circle(rack, (x, y), 2, (142, 150, 154), -1, cv2.LINE_AA)
    for row in range(-1, _ROWS + 1):
        board = MARGIN_PX + _TOP_PX + row * _BOARD_PITCH_PX + _BAY[1] - 2
        under = rack[board + 10 : board + 26]
        fade = np.linspace(0.55, 1.0, under.shape[0], dtype=np.float32)[:, None, None]
        under[:] = (under * fade).astype(np.uint8)
        cv2.rectangle(rack, (0, board), (width, board + 11), (214, 218, 220), -1)
        cv2.line(rack, (0, board), (width, board), (244, 246, 246), 2, cv2.LINE_AA)
        for x in range(MARGIN_PX + _LEFT_PX + 24, width, _BAY[0]):
            cv2.rectangle(rack, (x, board + 3), (x + 28, board + 10), (60, 210, 250), -1)
            cv2.line(rack, (x + 4, board + 6), (x + 20, board + 6), (40, 40, 40), 1, cv2.LINE_AA)
    return rack
