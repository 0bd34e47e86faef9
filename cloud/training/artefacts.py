"""What Ultralytics leaves of a run and is worth keeping with the version: curves, arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE_BYTES_MAX = 8 * 1024 * 1024
TOTAL_BYTES_MAX = 32 * 1024 * 1024
ARGUMENTS_NAME = "args.yaml"
ARGUMENTS_BYTES_MAX = 256 * 1024
GIVEN_NAME = "given"
# By name, in the order of their worth: where the total is spent, the last ones are left out.
# A list, so that no picture of the data set's images leaves with the version.
NAMES = (
    "results.csv",
    ARGUMENTS_NAME,
    "confusion_matrix.png",
    "confusion_matrix_normalized.png",
    "BoxPR_curve.png",
    "BoxF1_curve.png",
    "BoxP_curve.png",
    "BoxR_curve.png",
    "results.png",
    "labels.jpg",
)
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".yaml": "application/yaml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}


@dataclass(frozen=True)
class RunArtefact:
    """A file of a run, in the run's folder or, where it was rewritten, in one beside it."""

    name: str
    path: Path
    media_type: str


def collect(run: Path) -> list[RunArtefact]:
    """Those of NAMES that are there and not too large; none where nothing was trained.

    The arguments are given out as a copy in a folder `given` beside the run, whose paths are
    reduced to their names: they say where things lie on the hub. The run stays as it is.
    """
    found, total = [], 0
    for name in NAMES:
        path = run / name
        if path.is_symlink() or not path.is_file():
            continue
        if name == ARGUMENTS_NAME:
            copy = _arguments_without_paths(path, run.parent / GIVEN_NAME)
            if copy is None:
                continue
            path = copy
        size = path.stat().st_size
        if 0 < size <= FILE_BYTES_MAX and total + size <= TOTAL_BYTES_MAX:
            total += size
            found.append(RunArtefact(name, path, MEDIA_TYPES[path.suffix]))
    return found


def without_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Ultralytics' arguments, of each path its last name.

    They are flat: numbers, words and lists of these. What is nested deeper is left out.
    """
    return dict(_flat(arguments))


def _flat(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in arguments.items():
        if isinstance(value, list):
            if not any(isinstance(item, list | dict) for item in value):
                yield key, [_named(item) for item in value]
        elif not isinstance(value, dict):
            yield key, _named(value)


def _named(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _arguments_without_paths(path: Path, folder: Path) -> Path | None:
    """A copy in `folder`; None where they are not what Ultralytics writes."""
    import yaml

    if path.stat().st_size > ARGUMENTS_BYTES_MAX:
        return None
    try:
        arguments = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    if not isinstance(arguments, dict):
        return None
    folder.mkdir(exist_ok=True)
    copy = folder / path.name
    copy.write_text(yaml.safe_dump(without_paths(arguments), sort_keys=False))
    return copy
