"""The factory's part: a canister with cap and label, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.scenes.scene import Box
from simulators.scenes.sprites import (
    SUPERSAMPLING,
    Colour,
    Sprite,
    cylinder_shade,
    fill,
    mix,
    rounded_mask,
    shrink,
    soften,
    stroke,
)

PART, SCRATCH, DENT, MISSING_CAP, LABEL_SKEW, CRACK = range(6)
CLASS_NAMES = ("part", "scratch", "dent", "missing_cap", "label_skew", "crack")

_SPRITE = (112, 216)
_BODY = (15, 50, 97, 206)
_CAP = (30, 6, 82, 44)
_LABEL_HALF = (37, 30)
_LABEL_CENTRE = (56, 130)
_CRACK_SHARE = 0.5

_OLD_BODY: Colour = (214, 208, 200)
_NEW_BODY: Colour = (74, 92, 58)
_OLD_CAP: Colour = (190, 96, 30)
_NEW_CAP: Colour = (40, 150, 235)
_OLD_LABEL: Colour = (250, 248, 244)
_NEW_LABEL: Colour = (60, 205, 245)
_OLD_BAND: Colour = (170, 70, 20)
_NEW_BAND: Colour = (40, 36, 44)


@dataclass(frozen=True)
class _Flaws:
    """What is wrong with one part, drawn once from its number."""

    scratch: bool
    dent: bool
    missing_cap: bool
    label_skew: bool
    crack_rank: float


def _draw_flaws(rng: np.random.Generator) -> _Flaws:
    draws = rng.random(5)
    return _Flaws(
        scratch=bool(draws[0] < 0.32),
        dent=bool(draws[1] < 0.32),
        missing_cap=bool(draws[2] < 0.28),
        label_skew=bool(draws[3] < 0.30),
        crack_rank=float(draws[4]),
    )


def paint_canister(rng: np.random.Generator, packaging: float, new_defect: float) -> Sprite:
    """One part with what `rng` draws for it; the dials change its paint and its cracks only."""
    flaws = _draw_flaws(rng)
    painter = _Painter(rng, packaging)
    painter.shadow()
    painter.body()
    painter.label(skewed=flaws.label_skew)
    painter.cap(missing=flaws.missing_cap)
    if flaws.dent:
        painter.dent()
    if flaws.scratch:
        painter.scratch()
    if flaws.crack_rank < _CRACK_SHARE * new_defect:
        painter.crack()
    return painter.sprite()


class _Painter:
    """Paints one part `SUPERSAMPLING` times too large; `sprite()` hands it over."""

    def __init__(self, rng: np.random.Generator, packaging: float) -> None:
        self._rng = rng
        self._packaging = packaging
        self._shape = (_SPRITE[1] * SUPERSAMPLING, _SPRITE[0] * SUPERSAMPLING)
        self._image = np.zeros((*self._shape, 3), np.float32)
        self._opacity = np.zeros(self._shape, np.float32)
        self._boxes: list[Box] = [Box(PART, _BODY[0], _CAP[1], _BODY[2], _BODY[3])]
        self._tone = float(rng.uniform(0.92, 1.05))
        self._flaw_sides = rng.permutation(2)

    def sprite(self) -> Sprite:
        return shrink(self._image, self._opacity, self._boxes)

    def _colour(self, old: Colour, new: Colour) -> Colour:
        b, g, r = mix(old, new, self._packaging)
        return (b * self._tone, g * self._tone, r * self._tone)

    def _mask(self, box: tuple[float, float, float, float], radius: float) -> NDArray[np.uint8]:
        x1, y1, x2, y2 = (v * SUPERSAMPLING for v in box)
        return rounded_mask(self._shape, (x1, y1, x2, y2), radius * SUPERSAMPLING)

    def _shade(self, x1: float, x2: float) -> NDArray[np.float32]:
        return cylinder_shade(self._shape[1], x1 * SUPERSAMPLING, x2 * SUPERSAMPLING)

    def shadow(self) -> None:
        centre = (round(60 * SUPERSAMPLING), round(205 * SUPERSAMPLING))
        axes = (46 * SUPERSAMPLING, 7 * SUPERSAMPLING)
        cv2.ellipse(self._opacity, centre, axes, 0, 0, 360, 0.75, -1)
        self._opacity = soften(self._opacity, 3.0)

    def body(self) -> None:
        neck = self._mask((38, 34, 74, 60), 3)
        body = self._mask(_BODY, 15)
        colour = self._colour(_OLD_BODY, _NEW_BODY)
        fill(self._image, neck, colour, self._shade(38, 74) * 0.82)
        fill(self._image, body, colour, self._shade(_BODY[0], _BODY[2]))
        self._opacity[(neck > 0) | (body > 0)] = 1.0
        for y in (70, 188):
            ring = self._mask((_BODY[0], y, _BODY[2], y + 2), 1)
            fill(self._image, ring, colour, self._shade(_BODY[0], _BODY[2]) * 0.72)

    def label(self, *, skewed: bool) -> None:
        paper = np.zeros_like(self._image)
        mask = np.zeros(self._shape, np.uint8)
        (cx, cy), (hw, hh) = _LABEL_CENTRE, _LABEL_HALF
        outline = (cx - hw, cy - hh, cx + hw, cy + hh)
        mask |= self._mask(outline, 4)
        fill(paper, mask, self._colour(_OLD_LABEL, _NEW_LABEL))
        band_y = cy - hh + 8 + 26 * self._packaging
        band = self._mask((cx - hw, band_y, cx + hw, band_y + 18), 1)
        fill(paper, band, self._colour(_OLD_BAND, _NEW_BAND))
        ink = self._colour((70, 60, 60), (30, 30, 120))
        for row in range(3):
            y = cy + 8 + row * 7 - 26 * self._packaging
            end = cx + hw - 10 - float(self._rng.integers(0, 22))
            fill(paper, self._mask((cx - hw + 8, y, end, y + 2.4), 1), ink)
        angle = 0.0
        if skewed:
            angle = float(self._rng.uniform(16, 24) * self._rng.choice((-1, 1)))
        turn = cv2.getRotationMatrix2D((cx * SUPERSAMPLING, cy * SUPERSAMPLING), angle, 1.0)
        size = (self._shape[1], self._shape[0])
        turned = cv2.warpAffine(mask, turn, size, flags=cv2.INTER_NEAREST)
        paper = np.asarray(cv2.warpAffine(paper, turn, size, flags=cv2.INTER_LINEAR), np.float32)
        mask = np.asarray(turned, np.uint8) & self._mask(_BODY, 15)
        shade = 0.25 + 0.75 * self._shade(_BODY[0], _BODY[2])
        np.copyto(self._image, paper * shade[:, None], where=(mask > 0)[..., None])
        if skewed:
            self._note(LABEL_SKEW, mask)

    def cap(self, *, missing: bool) -> None:
        if missing:
            rim = (round(56 * SUPERSAMPLING), round(35 * SUPERSAMPLING))
            axes = (18 * SUPERSAMPLING, 5 * SUPERSAMPLING)
            cv2.ellipse(self._image, rim, axes, 0, 0, 360, (150, 150, 150), -1, cv2.LINE_AA)
            cv2.ellipse(self._opacity, rim, axes, 0, 0, 360, 1.0, -1)
            inner = (14 * SUPERSAMPLING, 3 * SUPERSAMPLING)
            cv2.ellipse(self._image, rim, inner, 0, 0, 360, (18, 16, 16), -1, cv2.LINE_AA)
            self._boxes[0] = Box(PART, _BODY[0], 30, _BODY[2], _BODY[3])
            self._boxes.append(Box(MISSING_CAP, 30, 24, 82, 62))
            return
        mask = self._mask(_CAP, 7)
        colour = self._colour(_OLD_CAP, _NEW_CAP)
        fill(self._image, mask, colour, self._shade(_CAP[0], _CAP[2]))
        for x in range(_CAP[0] + 4, _CAP[2] - 3, 6):
            ridge = self._mask((x, _CAP[1] + 10, x + 2, _CAP[3] - 4), 1)
            fill(self._image, ridge, colour, self._shade(_CAP[0], _CAP[2]) * 0.7)
        self._opacity[mask > 0] = 1.0

    def _flaw_centre(self, which: int) -> tuple[float, float]:
        """A place on the upper or the lower body, so that two flaws never lie on each other."""
        low = self._flaw_sides[which] == 1
        x = float(self._rng.uniform(40, 72))
        return x, float(self._rng.uniform(168, 178) if low else self._rng.uniform(82, 92))

    def dent(self) -> None:
        x, y = self._flaw_centre(0)
        rx, ry = float(self._rng.uniform(17, 22)), float(self._rng.uniform(15, 19))
        ys, xs = np.mgrid[0 : self._shape[0], 0 : self._shape[1]].astype(np.float32)
        u = (xs / SUPERSAMPLING - x) / rx
        v = (ys / SUPERSAMPLING - y) / ry
        depth = np.clip(1 - (u * u + v * v), 0, 1)
        slope = np.sqrt(depth) * (0.85 * v + 0.25 * u) - 0.42 * depth
        factor = 1 + np.where(depth > 0, 1.25 * slope, 0)
        inside = (self._mask(_BODY, 15) > 0)[..., None]
        self._image *= np.where(inside, factor[..., None], 1)
        self._boxes.append(_clipped(DENT, x - rx, y - ry, x + rx, y + ry))

    def scratch(self) -> None:
        x, y = self._flaw_centre(1)
        length, lean = float(self._rng.uniform(48, 60)), float(self._rng.uniform(-0.5, 0.5))
        mask = np.zeros(self._shape, np.uint8)
        bright, dark = (250.0, 250.0, 250.0), (40.0, 48.0, 78.0)
        for off in np.linspace(-8, 8, 5) + self._rng.uniform(-2, 2, 5):
            t = np.linspace(-0.5, 0.5, 9)[:, None] * float(self._rng.uniform(0.75, 1.0))
            line = np.hstack((x + t * length, y + off + t * length * lean))
            line += self._rng.normal(0, 0.7, line.shape)
            stroke(self._image, line + np.array([0, 1]), dark, 3.0)
            stroke(self._image, line, bright, 1.7)
            stroke(mask, line, (255, 255, 255), 3.0)
        self._note(SCRATCH, mask & self._mask(_BODY, 15))

    def crack(self) -> None:
        mask = np.zeros(self._shape, np.uint8)
        x, y = float(self._rng.uniform(30, 82)), 54.0
        points = [(x, y)]
        while points[-1][1] < 108:
            px, py = points[-1]
            step = float(self._rng.uniform(-11, 11))
            points.append((min(max(px + step, 24), 88), py + float(self._rng.uniform(5, 10))))
        branch = points[len(points) // 2]
        fork = [branch, (branch[0] + 12, branch[1] + 8), (branch[0] + 16, branch[1] + 20)]
        for path in (points, fork):
            line = np.array(path)
            stroke(self._image, line, (12, 10, 10), 2.7)
            stroke(self._image, line + 1, (235, 235, 235), 0.7)
            stroke(mask, line, (255, 255, 255), 2.7)
        self._note(CRACK, mask)

    def _note(self, class_id: int, mask: NDArray[np.uint8]) -> None:
        x, y, w, h = (v / SUPERSAMPLING for v in cv2.boundingRect(mask))
        self._boxes.append(_clipped(class_id, x, y, x + w, y + h))


def _clipped(class_id: int, x1: float, y1: float, x2: float, y2: float) -> Box:
    """Box kept on the part's body."""
    left, top, right, bottom = _BODY
    return Box(class_id, max(x1, left), max(y1, top), min(x2, right), min(y2, bottom))
