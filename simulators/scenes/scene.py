"""What every rendered scene offers: frames with ground truth, and drift that can be dialled in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """One labelled object: class index and corners in pixels of the frame, x1 < x2 and y1 < y2."""

    class_id: int
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Drift:
    """How far the world has moved from the one that the first training set showed.

    Every dial runs from 0 (as it was) to 1 (as far as the scene can show) and is continuous.

    Raises:
        ValueError: a dial is not a number between 0 and 1; the message names it.
    """

    lighting: float = 0.0
    """The light turns dim, warm and uneven, and the sensor noisier."""
    blur: float = 0.0
    """The lens loses its focus."""
    shift: float = 0.0
    """The camera was moved: turned, displaced and farther away."""
    packaging: float = 0.0
    """Products come in new colours and a new design."""
    new_defect: float = 0.0
    """Share at which a class appears that the first training set never showed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(
                    f"drift dial {field.name} is {value!r}: give a number between 0 and 1"
                )

    def as_dict(self) -> dict[str, float]:
        """The dials by name, as the camera's HTTP interface and its truth log write them."""
        return asdict(self)


class Scene(Protocol):
    """A seeded world seen by one camera."""

    @property
    def name(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """All classes by index; the last is the one that appears with `Drift.new_defect` only."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame in pixels."""
        ...

    def render(self, frame_number: int, drift: Drift) -> tuple[Image, tuple[Box, ...]]:
        """Frame of shape (height, width, 3), BGR, and its boxes.

        A pure function of the scene's seed, `frame_number` (>= 0) and `drift`.
        """
        ...
