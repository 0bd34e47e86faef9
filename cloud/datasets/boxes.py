"""Labels as the dataset keeps them: a class and a box in shares of the image."""

from __future__ import annotations

import math
from typing import NamedTuple


class LabelBox(NamedTuple):
    """A labelled object: centre and size as shares of the image's width and height."""

    class_id: int
    centre_x: float
    centre_y: float
    width: float
    height: float

    def to_pixels(self, width_px: int, height_px: int) -> tuple[float, float, float, float]:
        """The box as (x1, y1, x2, y2) in pixels of an image of that size."""
        half_width, half_height = self.width / 2, self.height / 2
        return (
            (self.centre_x - half_width) * width_px,
            (self.centre_y - half_height) * height_px,
            (self.centre_x + half_width) * width_px,
            (self.centre_y + half_height) * height_px,
        )

    def line(self) -> str:
        """The line of a YOLO label file that says the same."""
        return f"{self.class_id} " + " ".join(f"{v:.8f}" for v in self[1:])


def from_pixels(
    class_id: int, box: tuple[float, float, float, float], width_px: int, height_px: int
) -> LabelBox:
    """The label of a box (x1, y1, x2, y2) in pixels of an image of that size."""
    x1, y1, x2, y2 = box
    return LabelBox(
        class_id,
        (x1 + x2) / 2 / width_px,
        (y1 + y2) / 2 / height_px,
        (x2 - x1) / width_px,
        (y2 - y1) / height_px,
    )


# Labels are rounded when they are written, so an edge may fall just outside of the image.
_OUTSIDE_MAX = 0.01


def parse_line(text: str, classes: int) -> LabelBox:
    """The label that a line of a YOLO label file is.

    Raises:
        ValueError: it is none; the message says what is wrong and how to mend it.
    """
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(
            f"has {len(fields)} fields; a box is 5: class, centre x, centre y, width, height"
        )
    try:
        class_id, numbers = int(fields[0]), [float(f) for f in fields[1:]]
    except ValueError:
        raise ValueError(
            f"{text[:60]!r} is not a whole class number and four decimal numbers"
        ) from None
    if not 0 <= class_id < classes:
        raise ValueError(
            f"class {class_id} is out of range; data.yaml names {classes} classes, "
            f"0 to {classes - 1}"
        )
    box = LabelBox(class_id, *numbers)
    if not all(math.isfinite(n) for n in numbers) or box.width <= 0 or box.height <= 0:
        raise ValueError("the width and height of a box are above 0, and all numbers finite")
    edges = box.to_pixels(1, 1)
    if min(edges) < -_OUTSIDE_MAX or max(edges) > 1 + _OUTSIDE_MAX:
        raise ValueError(
            "the box lies outside of the image; the numbers are shares of the image's "
            "width and height, 0 to 1"
        )
    return box
