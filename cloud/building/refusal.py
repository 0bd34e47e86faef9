"""What a child that opens an outside file says: facts, or why it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

READ_BYTES = 1024 * 1024
EXPORT = "export it to ONNX where it was made, with Ultralytics, and import that file"
ELSEWHERE = "export it again as one file of plain ONNX operators"
"""What helps where the file is ONNX already."""


class Refused(Exception):  # noqa: N818 - an answer, as `accepted` is
    """The file is not taken.

    Attributes:
        remedy: what the person who brought it can do.
    """

    def __init__(self, message: str, remedy: str = EXPORT) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


def answer(out: Path, inspect: Callable[[], dict[str, Any]], remedy: str = EXPORT) -> None:
    """Write what `inspect` found, or its refusal, to `out`.

    Args:
        remedy: where it takes more memory than is allowed.
    """
    try:
        said: dict[str, Any] = {"accepted": inspect()}
    except Refused as refused:
        said = {"refused": refused.message, "remedy": refused.remedy}
    except (MemoryError, RecursionError) as error:
        said = {
            "refused": f"opening it takes more than is allowed ({type(error).__name__})",
            "remedy": remedy,
        }
    out.write_text(json.dumps(said))


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 in hex and size in bytes."""
    hashed, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            hashed.update(piece)
            size += len(piece)
    return hashed.hexdigest(), size


def class_names(found: Any) -> list[str] | None:
    """The names by number that a file gives, in order; None where it gives none that can be used.

    Raises:
        Refused: they are there and are no names.
    """
    if found is None or found == {}:
        return None
    if isinstance(found, list | tuple):
        found = dict(enumerate(found))
    if not isinstance(found, dict) or len(found) > 10_000:
        raise Refused("its class names are no table of names by number")
    names = [found.get(i) for i in range(len(found))]
    if not all(isinstance(name, str) and 0 < len(name) <= 100 for name in names):
        raise Refused("its class names are not numbered from 0 or are no short texts")
    return [str(name) for name in names]
