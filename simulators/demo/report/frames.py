"""Frames with boxes: what is there, what the old version saw, what the new one sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.checkers.confusion import confusion
from simulators.checkers.records import Labelled, Pair
from simulators.demo.replay import FrameKey, Replay

Image = NDArray[np.uint8]

SCALE = 2
_GAP_PX = 10
_HEAD_PX = 40
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# BGR, far apart in hue and bright enough on dark and light frames.
_COLOURS = (
    (240, 200, 80),
    (80, 220, 255),
    (255, 140, 220),
    (70, 90, 255),
    (120, 240, 120),
    (60, 160, 255),
)


@dataclass(frozen=True)
class Column:
    """One way to look at a frame."""

    title: str
    boxes: Sequence[Labelled]
    with_confidence: bool = True


def compare(image: Image, columns: Sequence[Column], names: Sequence[str]) -> bytes:
    """PNG of `image` (h, w, 3), BGR, once per column with its boxes, side by side."""
    tiles = [_tile(image, column, names) for column in columns]
    gap = np.full((tiles[0].shape[0], _GAP_PX, 3), 128, np.uint8)
    row: list[Image] = []
    for tile in tiles:
        row += [tile, gap]
    _, png = cv2.imencode(".png", np.hstack(row[:-1]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return png.tobytes()


def choose(pairs: Sequence[Pair], old: Replay, new: Replay, classes: int, count: int) -> list[Pair]:
    """Frames that tell the most: where the old version errs most more than the new, apart."""

    def gain(found: Pair) -> int:
        key: FrameKey = (found.truth.camera, found.truth.frame_number)
        errors = [
            _errors(confusion([(found.truth.boxes, replay.seen[key])], classes))
            for replay in (old, new)
        ]
        return errors[0] - errors[1]

    chosen: list[Pair] = []
    for candidate in sorted(pairs, key=gain, reverse=True):
        number = candidate.truth.frame_number
        if all(abs(number - c.truth.frame_number) >= len(pairs) // (count + 1) for c in chosen):
            chosen.append(candidate)
        if len(chosen) == count:
            break
    return chosen


def columns_of(found: Pair, replays: Mapping[str, Replay]) -> list[Column]:
    """The truth, then what each of `replays` (by title) sees in the frame."""
    key: FrameKey = (found.truth.camera, found.truth.frame_number)
    seen = [Column(title, replay.seen[key]) for title, replay in replays.items()]
    return [Column("what is there", found.truth.boxes, with_confidence=False), *seen]


def _errors(matrix: NDArray[np.int64]) -> int:
    return int(matrix.sum() - np.trace(matrix))


def _tile(image: Image, column: Column, names: Sequence[str]) -> Image:
    height, width = image.shape[:2]
    size = (width * SCALE, height * SCALE)
    canvas = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    for box in column.boxes:
        _draw_box(canvas, box, names, with_confidence=column.with_confidence)
    head = np.full((_HEAD_PX, size[0], 3), (37, 28, 21), np.uint8)
    cv2.putText(head, column.title, (12, 27), _FONT, 0.7, (241, 235, 230), 1, cv2.LINE_AA)
    return np.vstack((head, canvas))


def _draw_box(canvas: Image, box: Labelled, names: Sequence[str], *, with_confidence: bool) -> None:
    colour = _COLOURS[box.class_id % len(_COLOURS)]
    x1, y1, x2, y2 = (round(v * SCALE) for v in box.box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
    text = names[box.class_id].replace("_", " ")
    if with_confidence:
        text += f" {box.confidence:.2f}"
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.42, 1)
    x = max(0, min(x1, canvas.shape[1] - width - 6))
    y = max(height + 6, y1)
    cv2.rectangle(canvas, (x, y - height - 6), (x + width + 6, y), colour, -1)
    cv2.putText(canvas, text, (x + 3, y - 4), _FONT, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
