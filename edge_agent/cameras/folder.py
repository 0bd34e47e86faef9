"""A folder of images as a camera: every image once, by name."""

from __future__ import annotations

from pathlib import Path

from edge_agent.cameras.source import Grab, Image, no_image
from edge_agent.errors import BadImageError, CameraError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
IMAGE_BYTES_MAX = 256 * 1024 * 1024


class FolderSource:
    """Images of one folder, sorted by name; the index is the place in that order.

    Raises CameraError where the folder cannot be listed or holds no image.
    """

    fps: float | None = None

    def __init__(self, folder: Path) -> None:
        try:
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        except OSError as error:
            raise CameraError(f"no folder of images at {folder}: {error.strerror}") from error
        if not found:
            raise CameraError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self._paths = found
        self._next = 0

    def read(self, decode: bool = True) -> Grab | None:
        if self._next >= len(self._paths):
            return None
        index, path = self._next, self._paths[self._next]
        self._next += 1
        return Grab(read_image(path) if decode else no_image(), index, path.name)

    def close(self) -> None:
        self._paths = []


def read_image(path: Path) -> Image:
    """The image at `path`: uint8 (H, W, 3), BGR. Raises BadImageError."""
    import cv2
    import numpy as np

    try:
        if path.stat().st_size > IMAGE_BYTES_MAX:
            raise BadImageError(f"{path.name} is over {IMAGE_BYTES_MAX} bytes; make it smaller")
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise BadImageError(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:
        raise BadImageError(f"{path.name} is no image: {error}") from error
    if image is None:
        raise BadImageError(f"{path.name} is no image; replace or remove it")
    return np.asarray(image, dtype=np.uint8)
