"""What a camera is, what a frame is, and which source a configuration names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import numpy as np
import numpy.typing as npt

from edge_agent.errors import CameraError

Image = npt.NDArray[np.uint8]

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")

_USB = re.compile(r"usb:(\d{1,3}|/dev/[A-Za-z0-9._/-]+)")
_CSI = re.compile(r"csi:\d{1,2}")
_CREDENTIALS = re.compile(r"://[^/\s]*@")
_APPSINK = re.compile(r"!\s*appsink(\s[^!]*)?$")


class SourceKind(str, Enum):
    """How a source is read."""

    FOLDER = "folder"
    FILE = "file"
    STREAM = "stream"
    USB = "usb"
    CSI = "csi"
    GSTREAMER = "gst"

    @property
    def is_stored(self) -> bool:
        """Whether it waits to be read, instead of going on by itself."""
        return self in (SourceKind.FILE, SourceKind.FOLDER)


class Decoder(str, Enum):
    """What decodes a network stream: the CPU, or NVIDIA's decoder of a Jetson."""

    CPU = "cpu"
    NVDEC = "nvdec"


class Codec(str, Enum):
    """How a network stream is coded; NVDEC has to be told."""

    H264 = "h264"
    H265 = "h265"


class Transport(str, Enum):
    """What carries RTSP's pictures. UDP falls back to TCP where nothing arrives."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True)
class Region:
    """A part of a picture, as shares of its width and height, each in 0 … 1."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class CameraSpec:
    """One camera as configured.

    Attributes:
        id: its name on this device.
        source: "/path/video.mp4", "/folder/of/images", "rtsp://…", "http://…", "usb:0",
            "usb:/dev/video0", "csi:0", or "gst:… ! appsink".
        slot: the group of cameras that share a detector; its name is the model's.
        fps_max: frames per second to take at most; None takes all.
        loop: begin again at the end of a file or folder.
        live: newest frame wins (True), or every frame in order (False); None follows
            the kind of the source: files and folders are not live.
        rotate: degrees clockwise: 0, 90, 180 or 270.
        region: the part of the rotated picture that is seen; None sees all of it.
        decoder, codec, transport: for RTSP.
        connection_token: whether `connection=TOKEN` is appended to an HTTP source's query.
        stale_after_s: a live picture that stands still for so long is reported as stale.
        reopen_after_s: and after so long its source is opened again.
        track: whether its objects are followed from frame to frame.
    """

    id: str
    source: str
    slot: str
    fps_max: float | None = None
    loop: bool = False
    live: bool | None = None
    rotate: int = 0
    region: Region | None = None
    decoder: Decoder = Decoder.CPU
    codec: Codec = Codec.H264
    transport: Transport = Transport.TCP
    connection_token: bool = True
    stale_after_s: float = 10.0
    reopen_after_s: float = 120.0
    track: bool = False

    @property
    def kind(self) -> SourceKind:
        return source_kind(self.source)

    @property
    def is_live(self) -> bool:
        return not self.kind.is_stored if self.live is None else self.live

    @property
    def name(self) -> str:
        """The source as messages may show it: without credentials."""
        return without_credentials(self.source)


@dataclass(frozen=True)
class Frame:
    """One captured frame.

    Attributes:
        image: uint8 (H, W, 3), BGR, contiguous; rotated and cut as the camera asks.
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
    """What a source gives for one frame.

    Attributes:
        image: as the source has it.
        index: frames read since the source was opened, from 0.
        file: the image's file name, for folders.
        stream_ms: the frame's time by the stream's own clock; None where it has none.
    """

    image: Image
    index: int
    file: str | None = None
    stream_ms: float | None = None


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
    for kind in (SourceKind.USB, SourceKind.CSI, SourceKind.GSTREAMER):
        if source.startswith(f"{kind.value}:"):
            return kind
    if "://" in source:
        return SourceKind.STREAM
    try:
        return SourceKind.FOLDER if Path(source).is_dir() else SourceKind.FILE
    except (OSError, ValueError):
        return SourceKind.FILE


def check_source(source: str) -> None:
    """Raise CameraError where the text cannot name a source; nothing is opened."""
    kind, name = source_kind(source), without_credentials(source)
    if "\0" in source:
        raise CameraError(f"{source!r} is no source; remove the zero byte")
    if kind is SourceKind.USB and not _USB.fullmatch(source):
        raise CameraError(f"{source!r} is no USB camera; write usb:0 or usb:/dev/video0")
    if kind is SourceKind.CSI and not _CSI.fullmatch(source):
        raise CameraError(f"{source!r} is no CSI camera; write csi:0 for the first")
    if kind is SourceKind.GSTREAMER and not _APPSINK.search(source.strip()):
        raise CameraError(f"{name!r} is no source for GStreamer; end it with `! appsink`")
    if kind is SourceKind.STREAM:
        _check_url(source, name)


def without_credentials(source: str) -> str:
    """`source` fit for a log: no user, no password, no query."""
    parts = _split(source)
    if parts is None or source_kind(source) is SourceKind.GSTREAMER:
        return _CREDENTIALS.sub("://", source)
    if not parts.netloc:
        return source
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def no_image() -> Image:
    """The image of a frame that was passed over."""
    empty: npt.NDArray[Any] = np.empty((0, 0, 3), dtype=np.uint8)
    return empty


def _check_url(source: str, name: str) -> None:
    parts = _split(source)
    if parts is None or not parts.hostname:
        raise CameraError(f"{name!r} names no host; write it as rtsp://host:port/path")
    if parts.scheme.lower() not in STREAM_SCHEMES:
        known = ", ".join(STREAM_SCHEMES)
        raise CameraError(f"{name!r} has an unknown scheme; use one of {known}, or gst:…")
    try:
        _ = parts.port
    except ValueError as error:
        raise CameraError(f"{name!r} has a bad port: {error}") from error


def _split(source: str) -> SplitResult | None:
    try:
        return urlsplit(source)
    except ValueError:
        return None
