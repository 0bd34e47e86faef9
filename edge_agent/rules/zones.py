"""Polygons in shares of the picture, so that they hold at every resolution. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Point = tuple[float, float]

_INSIDE_MAX = np.nextafter(1.0, 0.0)


def contains(zone: Sequence[Point], points: Doubles) -> npt.NDArray[np.bool_]:
    """Which of `points` (N, 2), in shares of the picture, lie in the polygon, bool (N,).

    By the even-odd rule, whose edges belong to one side: of two zones with a common edge a
    point is in exactly one. A point on the picture's right or lower rim counts as just
    within it, because boxes of objects that leave the picture end there.
    """
    x, y = np.clip(points, 0.0, _INSIDE_MAX).T
    inside = np.zeros(len(points), np.bool_)
    for ends in _edges(zone):
        # From the upper end down, so that a common edge is rounded alike for both its zones.
        (x1, y1), (x2, y2) = sorted(ends, key=lambda end: end[1])
        if y1 != y2:
            crosses = (y1 <= y) & (y < y2)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def problem(zone: Sequence[Point]) -> str | None:
    """What is wrong with a polygon, and the remedy; None where it is simple."""
    if len(set(zone)) != len(zone):
        return "two corners of a zone are the same; leave one out (it closes by itself)"
    edges = _edges(zone)
    for (i, first), (j, second) in itertools.combinations(enumerate(edges), 2):
        neighbours = j - i in (1, len(edges) - 1)
        if _folded(first, second) if neighbours else _meet(first, second):
            return (
                f"the sides of a zone from corner {i + 1} and from corner {j + 1} meet; "
                "name the corners in the order in which one walks around it"
            )
    return None


def _edges(zone: Sequence[Point]) -> list[tuple[Point, Point]]:
    return list(zip(zone, [*zone[1:], zone[0]], strict=True))


def _turn(a: Point, b: Point, c: Point) -> float:
    """Positive where a, b, c turn one way, negative for the other, 0 on one line."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _meet(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Whether two closed segments have a point in common."""
    (a, b), (c, d) = first, second
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    corners = (
        (turns[0], c, first),
        (turns[1], d, first),
        (turns[2], a, second),
        (turns[3], b, second),
    )
    return any(turn == 0 and _within(point, segment) for turn, point, segment in corners)


def _within(point: Point, segment: tuple[Point, Point]) -> bool:
    """Whether a point on a segment's line lies between its ends."""
    return all(min(p, q) <= v <= max(p, q) for v, p, q in zip(point, *segment, strict=True))


def _folded(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Whether two segments that share a corner lie on each other."""
    common = set(first) & set(second)
    (corner,) = common if len(common) == 1 else (first[1],)
    (a,) = set(first) - {corner}
    (b,) = set(second) - {corner}
    if _turn(corner, a, b) != 0:
        return False
    return (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]) > 0
