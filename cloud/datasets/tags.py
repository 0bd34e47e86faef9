"""`tags.csv` beside `data.yaml`: where and when the images of a folder were taken.

The first line names the columns: `image`, the path as far as the folder, and any of `camera`,
`captured_at` (ISO 8601, in UTC where it names no zone, or seconds since 1970), `site`, `line` and
others, which are tags of that name. An empty cell says nothing.
"""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

from cloud.datasets.manifest import TAG_CHARACTERS_MAX, TAGS_MAX
from cloud.datasets.problems import Problems

FILENAME = "tags.csv"
FILE_BYTES_MAX = 256 * 1024 * 1024
LINE_BYTES_MAX = 16 * 1024

IMAGE, CAMERA, CAPTURED_AT = "image", "camera", "captured_at"
MEASURED = "lighting"
"""Evaluations take it from the images themselves, so nobody else may say it."""

_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_CAPTURED_AT_MAX_S = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()


@dataclass(frozen=True)
class ImageTags:
    """What is said of one image; `captured_at` in seconds since 1970."""

    camera: str | None = None
    captured_at: float | None = None
    tags: dict[str, str] | None = None


def read_tags(path: Path, images: Collection[str], problems: Problems) -> dict[str, ImageTags]:
    """What `path` says of the images, by their names; nothing where there is no such file.

    Every row that counts names another of `images`, so there are no more rows than these.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    where = problems.name(path)
    if not path.is_file() or path.stat().st_size > FILE_BYTES_MAX:
        problems.add(where, f"is no file of at most {FILE_BYTES_MAX} bytes; mend or remove it")
        return {}
    before = len(problems.lines)
    try:
        rows = _rows(path, where, problems)
        first, header = next(rows, (1, []))
        columns = [name.strip().lower() for name in header]
        if len(problems.lines) == before:
            _check_columns(columns, f"{where}:{first}", problems)
        if len(problems.lines) == before:
            return _read_rows(rows, columns, set(images), where, problems)
    except OSError as error:
        problems.add(where, f"cannot be read: {error.strerror}; mend or remove it")
    return {}


def _read_rows(
    rows: Iterator[tuple[int, list[str]]],
    columns: list[str],
    images: set[str],
    where: str,
    problems: Problems,
) -> dict[str, ImageTags]:
    found: dict[str, ImageTags] = {}
    lines: dict[str, int] = {}
    for number, cells in rows:
        here = f"{where}:{number}"
        if len(cells) != len(columns):
            problems.add(here, f"has {len(cells)} cells, the first line {len(columns)} columns")
            continue
        values = {column: cell.strip() for column, cell in zip(columns, cells, strict=True)}
        image = str(PurePosixPath(values.pop(IMAGE)))
        if image in lines:
            problems.add(here, f"{image} is in line {lines[image]} already; remove one")
        elif image not in images:
            problems.add(
                here,
                f"{image[:120]!r} is no image of train or val; name it by its path from "
                "the folder, or remove the line",
            )
        else:
            lines[image] = number
            try:
                found[image] = _image_tags({k: v for k, v in values.items() if v})
            except ValueError as error:
                problems.add(here, str(error))
    return found


def _image_tags(values: dict[str, str]) -> ImageTags:
    """Raises ValueError, saying which value is wrong and how to mend it."""
    for column, value in values.items():
        _check_text(f"the {column}", value)
    captured_at = values.pop(CAPTURED_AT, None)
    camera = values.pop(CAMERA, None)
    seconds = None if captured_at is None else _seconds(captured_at)
    return ImageTags(camera, seconds, values or None)


def _check_columns(columns: list[str], where: str, problems: Problems) -> None:
    if IMAGE not in columns:
        problems.add(
            where,
            f"names no column {IMAGE}; the first line names the columns, with commas between",
        )
    for column in columns:
        try:
            _check_text("a column's name", column)
        except ValueError as error:
            problems.add(where, str(error))
    for column in sorted({c for c in columns if columns.count(c) > 1}):
        problems.add(where, f"names the column {column!r} twice; remove one")
    if MEASURED in columns:
        problems.add(where, f"{MEASURED} is measured in the images; remove or rename the column")
    tags = len(set(columns) - {IMAGE, CAMERA, CAPTURED_AT})
    if tags > TAGS_MAX:
        problems.add(where, f"names {tags} tags; {TAGS_MAX} are possible")


def _check_text(what: str, value: str) -> None:
    if not 1 <= len(value) <= TAG_CHARACTERS_MAX:
        raise ValueError(f"{what} has {len(value)} characters; 1 to {TAG_CHARACTERS_MAX} are meant")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError(f"{what} {value!r} has a control character; remove it")


def _seconds(text: str) -> float:
    try:
        if _SECONDS.fullmatch(text):
            seconds = float(text)
        else:
            at = datetime.fromisoformat(text)
            seconds = (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= _CAPTURED_AT_MAX_S:
        raise ValueError(
            f"{CAPTURED_AT} {text!r} is no time; write 2026-03-01T07:30:00Z, or seconds since 1970"
        )
    return seconds


def _rows(path: Path, where: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank.

    Each line is read by itself: a quote that nobody closes spoils one line, and no row
    outgrows a line's bound.
    """
    with path.open("rb") as file:
        number = 0
        while data := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            here = f"{where}:{number}"
            if len(data) > LINE_BYTES_MAX:
                problems.add(here, f"over {LINE_BYTES_MAX} bytes; this is no table of tags")
                return
            try:
                line = data.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line.strip():
                    (cells,) = csv.reader([line], strict=True)
                    yield number, cells
            except UnicodeDecodeError:
                problems.add(here, "is not in UTF-8; save the file in it")
            except (csv.Error, ValueError) as error:
                problems.add(here, f"is no line of comma separated values: {error}")
