"""What a training child says of itself: one JSON object a line in `progress.jsonl`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

LINE_BYTES_MAX = 64 * 1024

Stage = Literal["preparing", "training", "exporting", "exported"]


class ProgressLine(BaseModel):
    """How far the training is; what is not known yet is None.

    Attributes:
        epoch: epochs that are finished.
        losses: running means of this epoch, by Ultralytics' names.
        map50, map50_95: on the selection split, of the last validation.
    """

    model_config = ConfigDict(frozen=True)

    stage: Stage
    epoch: int = 0
    epochs: int = 0
    losses: dict[str, float] = {}
    map50: float | None = None
    map50_95: float | None = None
    elapsed_s: float = 0.0
    remaining_s: float | None = None


@dataclass
class Tail:
    """Reads what was added to a file since the last look; a line is taken when it is whole."""

    path: Path
    _offset: int = field(default=0, init=False)

    def lines(self) -> list[ProgressLine]:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole, newline, _rest = data.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [line for line in map(_parse, whole.splitlines()) if line is not None]


def _parse(line: bytes) -> ProgressLine | None:
    """The line, or None for one that says nothing that is understood here."""
    try:
        return ProgressLine.model_validate_json(line[:LINE_BYTES_MAX])
    except ValidationError:
        return None


def append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
