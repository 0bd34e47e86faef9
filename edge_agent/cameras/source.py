"""What a camera is, what a frame is, and which source a configuration names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class SourceKind(str, Enum):
    """How a source is read."""

    FOLDER = "folder"
    FILE = "file"
    STREAM = "stream"
    USB = "usb"


@dataclass(frozen=True)
class CameraSpec:
    """One camera as configured.

    Attributes:
        id: its name on this device.
        source: "/path/video.mp4", "/folder/of/images", "rtsp://…", "http://…", "usb:0".
        slot: the group of cameras that share a detector; its name is the model's.
        fps_max: frames per second to take at most; None takes all.
        loop: begin again at the end of a file or folder.
        live: newest frame wins (True), or every frame in order (False); None follows
            the kind of the source: files and folders are not live.
    """

    id: str
    source: str
    slot: str
    fps_max: float | None = None
    loop: bool = False
    live: bool | None = None

    @property
    def kind(self) -> SourceKind:
        return source_kind(self.source)

    @property
    def is_live(self) -> bool:
        if self.live is not None:
            return self.live
        return self.kind in (SourceKind.STREAM, SourceKind.USB)


@dataclass(frozen=True)
class Frame:
    """One captured frame.

    Attributes:
        image: uint8 (H, W, 3), BGR, as captured.
        connection: token that is new at each opening of the source.
        index: frames read since that opening, from 0; the position in a file or folder.
        captured_at: Unix time in seconds.
        captured_monotonic: the same moment on the monotonic clock.
        file: the image's file name, for folders.
    """

    camera: str
    image: Image
    connection: str
    index: int
    captured_at: float
    captured_monotonic: float
    file: str | None = None

    @property
    def frame_id(self) -> str:
        return f"{self.connection}-{self.index}"

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])


@dataclass(frozen=True)
class Grab:
    """What a source gives for one frame: the image, its index, and its file's name."""

    image: Image
    index: int
    file: str | None = None


class Source(Protocol):
    """An opened source. Used by one thread.

    Attributes:
        fps: frames per second that the source says of itself; None where unknown.
    """

    fps: float | None

    def read(self, decode: bool = True) -> Grab | None:
        """The next frame; None at the end of a file or folder.

        With `decode` False the frame is passed over as cheaply as the source can, and
        the answer's image is empty: shape (0, 0, 3).

        Raises:
            BadImageError: this one is no image; the next may be.
            CameraError: a live source is lost.
        """

    def close(self) -> None: ...


def source_kind(source: str) -> SourceKind:
    """The kind that a source's text names."""
    if source.startswith("usb:"):
        return SourceKind.USB
    if "://" in source:
        return SourceKind.STREAM
    return SourceKind.FOLDER if Path(source).is_dir() else SourceKind.FILE


def no_image() -> Image:
    """The image of a frame that was passed over."""
    empty: npt.NDArray[Any] = np.empty((0, 0, 3), dtype=np.uint8)
    return empty
