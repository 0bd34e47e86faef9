"""What Ultralytics leaves of a run and is worth keeping with the version: curves, arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FILE_BYTES_MAX = 8 * 1024 * 1024
TOTAL_BYTES_MAX = 32 * 1024 * 1024
# By name, in the order of their worth: where the total is spent, the last ones are left out.
# A list, so that no picture of the data set's images leaves with the version.
NAMES = (
    "results.csv",
    "args.yaml",
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
    """A file of a run, still in the run's folder."""

    name: str
    path: Path
    media_type: str


def collect(run: Path) -> list[RunArtefact]:
    """Those of NAMES that are there and not too large; none where nothing was trained."""
    found, total = [], 0
    for name in NAMES:
        path = run / name
        if path.is_symlink() or not path.is_file():
            continue
        size = path.stat().st_size
        if 0 < size <= FILE_BYTES_MAX and total + size <= TOTAL_BYTES_MAX:
            total += size
            found.append(RunArtefact(name, path, MEDIA_TYPES[path.suffix]))
    return found
