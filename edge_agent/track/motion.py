"""Where boxes are expected next: a Kalman filter of constant velocity, for all at once.

The state of a track is centre x, centre y, width and height, each with its velocity. Noise
of the four is independent, so that each is a filter of two values (position, velocity) and
the whole is elementwise arithmetic on (T, 4) arrays: no matrix is inverted, and a hundred
tracks cost what one costs. The noise is ByteTrack's: in proportion to the box's size.

Time counts in steps, the frames that the source gave. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

POSITION_NOISE = 1 / 20
VELOCITY_NOISE = 1 / 160
"""Standard deviations, as shares of the box's width and height, for one step."""

SIZE_PX_MIN = 1.0


@dataclass(frozen=True)
class Motion:
    """Positions and velocities of T boxes with their covariance, each float64 (T, 4).

    Attributes:
        position: centre x, centre y, width, height in pixels.
        velocity: their change in pixels per step.
        var_position, covariance, var_velocity: the covariance of each such pair.
    """

    position: Doubles
    velocity: Doubles
    var_position: Doubles
    covariance: Doubles
    var_velocity: Doubles

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Motion:
        return Motion(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def joined(self, other: Motion) -> Motion:
        """These boxes, then those of `other`."""
        return Motion(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )

    def with_rows(self, rows: npt.NDArray[np.intp], others: Motion) -> Motion:
        """The same with `others` in the place of `rows`."""
        arrays = [getattr(self, f.name).copy() for f in fields(self)]
        for array, field in zip(arrays, fields(self), strict=True):
            array[rows] = getattr(others, field.name)
        return Motion(*arrays)

    def boxes(self) -> Doubles:
        """x1, y1, x2, y2 in pixels, (T, 4)."""
        centre = self.position[:, :2]
        half = np.maximum(self.position[:, 2:], SIZE_PX_MIN) / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def _scale(self) -> Doubles:
        """Width, height, width, height (T, 4): what noise is in proportion to."""
        size = np.maximum(self.position[:, 2:], SIZE_PX_MIN)
        return np.concatenate([size, size], axis=1)

    def predicted(self, steps: int, sizes_kept: npt.NDArray[np.bool_] | None = None) -> Motion:
        """The boxes `steps` (>= 0) later; `sizes_kept` (T,): those that stop to grow or shrink.

        A box out of sight that was about to vanish behind another must not shrink away.
        """
        velocity = self.velocity
        if sizes_kept is not None and sizes_kept.any():
            velocity = velocity.copy()
            velocity[sizes_kept, 2:] = 0.0
        scale, n = self._scale(), float(steps)
        noise_position = (POSITION_NOISE * scale) ** 2
        noise_velocity = (VELOCITY_NOISE * scale) ** 2
        # Sums of n single steps in closed form.
        crossed, squared = n * (n - 1) / 2, (n - 1) * n * (2 * n - 1) / 6
        return Motion(
            self.position + n * velocity,
            velocity,
            self.var_position
            + 2 * n * self.covariance
            + n * n * self.var_velocity
            + n * noise_position
            + squared * noise_velocity,
            self.covariance + n * self.var_velocity + crossed * noise_velocity,
            self.var_velocity + n * noise_velocity,
        )

    def corrected(self, measured: Doubles) -> Motion:
        """The boxes after they were seen at `measured` (T, 4: centre, width, height)."""
        total = self.var_position + (POSITION_NOISE * self._scale()) ** 2
        gain_position, gain_velocity = self.var_position / total, self.covariance / total
        surprise = measured - self.position
        return Motion(
            self.position + gain_position * surprise,
            self.velocity + gain_velocity * surprise,
            (1 - gain_position) * self.var_position,
            (1 - gain_position) * self.covariance,
            self.var_velocity - gain_velocity * self.covariance,
        )


def born(measured: Doubles) -> Motion:
    """Boxes that are seen for the first time, standing still."""
    still = np.zeros_like(measured)
    alone = Motion(measured, still, still, still, still)
    scale = alone._scale()
    return Motion(
        measured,
        still,
        (2 * POSITION_NOISE * scale) ** 2,
        still,
        (10 * VELOCITY_NOISE * scale) ** 2,
    )


def measured(boxes: npt.NDArray[np.floating]) -> Doubles:
    """Centre x, centre y, width, height of boxes x1, y1, x2, y2, float64 (N, 4)."""
    corners = np.asarray(boxes, dtype=np.float64)
    size = corners[:, 2:] - corners[:, :2]
    return np.concatenate([corners[:, :2] + size / 2, size], axis=1)
