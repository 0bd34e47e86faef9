"""A folder of images as a camera: every image once, by name."""

from __future__ import annotations

from pathlib import Path

from edge_agent.cameras.images import DEFAULT_LIMITS, ImageLimits, read_image
from edge_agent.cameras.source import Grab, no_image
from edge_agent.errors import CameraError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class FolderSource:
    """Images of one folder, sorted by name; the index is the place in that order.

    Raises CameraError where the folder cannot be listed or holds no image.
    """

    fps: float | None = None

    def __init__(self, folder: Path, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        try:
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        except OSError as error:
            raise CameraError(f"no folder of images at {folder}: {error.strerror}") from error
        if not found:
            raise CameraError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self._limits = limits
        self._paths = found
        self._next = 0

    def read(self, decode: bool = True) -> Grab | None:
        if self._next >= len(self._paths):
            return None
        index, path = self._next, self._paths[self._next]
        self._next += 1
        return Grab(read_image(path, self._limits) if decode else no_image(), index, path.name)

    def close(self) -> None:
        self._paths = []
