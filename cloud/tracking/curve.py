"""A training's curve out of Ultralytics' `results.csv`: a row for each epoch."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from cloud.tracking.content import name

ROWS_MAX = 10_000
COLUMNS_MAX = 64
CURVE_PREFIX = "train/"


@dataclass(frozen=True)
class Point:
    """One metric at one epoch."""

    metric: str
    value: float
    step: int


def points(text: str) -> list[Point]:
    """Every finite number of the file, by column and epoch; what is no number is left out.

    The names are `train/` and the column's, with `(B)`, Ultralytics' mark of boxes, off. A file
    without an `epoch` column has none.
    """
    rows = _rows(text)
    columns = [column.strip() for column in next(rows, [])][:COLUMNS_MAX]
    if "epoch" not in columns:
        return []
    found: list[Point] = []
    for row in islice(rows, ROWS_MAX):
        values = {c: _number(cell) for c, cell in zip(columns, row, strict=False)}
        epoch = values.pop("epoch", None)
        if epoch is None or not 0 <= epoch <= ROWS_MAX:
            continue
        found += [
            Point(CURVE_PREFIX + name(column.removesuffix("(B)")), value, int(epoch))
            for column, value in values.items()
            if value is not None
        ]
    return found


def _rows(text: str) -> Iterator[list[str]]:
    """The rows up to the first that is no CSV."""
    with contextlib.suppress(csv.Error):
        yield from csv.reader(io.StringIO(text))


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
