"""Video files, network streams and USB devices, read by OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np

from edge_agent.cameras.source import Grab, SourceKind, no_image, source_kind
from edge_agent.errors import CameraError

FPS_MAX_BELIEVED = 1000.0


@dataclass(frozen=True)
class Timeouts:
    """How long opening a network stream and waiting for its next frame may take."""

    open_s: float = 5.0
    read_s: float = 5.0


class VideoSource:
    """A `cv2.VideoCapture`. Raises CameraError where it cannot be opened.

    Args:
        live: the end of the video is a loss, not an end.
    """

    def __init__(self, source: str, connection: str, *, live: bool, timeouts: Timeouts) -> None:
        self._name, self._live = without_credentials(source), live
        self._capture: Any = _open(source, connection, timeouts)
        self._next = 0
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(f"{self._name} does not open; check that it is there and is a video")
        self.fps = _stated_fps(self._capture)

    def read(self, decode: bool = True) -> Grab | None:
        if not self._capture.grab():
            if self._live:
                raise CameraError(f"{self._name} sent no frame in time, or closed the connection")
            return None
        index = self._next
        self._next += 1
        if not decode:
            return Grab(no_image(), index)
        done, image = self._capture.retrieve()
        if not done or image is None:
            raise CameraError(f"{self._name} sent a frame that cannot be decoded")
        return Grab(np.asarray(image, dtype=np.uint8), index)

    def close(self) -> None:
        self._capture.release()


def with_connection(url: str, connection: str) -> str:
    """`url` with the query parameter `connection`, for http and https; others unchanged."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return url
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("connection", connection)]
    return urlunsplit(parts._replace(query=urlencode(query)))


def without_credentials(url: str) -> str:
    """`url` fit for a log: no user, no password, no query."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _open(source: str, connection: str, timeouts: Timeouts) -> Any:
    import cv2

    kind = source_kind(source)
    if kind is SourceKind.USB:
        number = source.removeprefix("usb:")
        if not number.isdecimal():
            raise CameraError(f"{source!r} is no USB camera; write usb:0 for the first")
        return cv2.VideoCapture(int(number))
    options = [cv2.CAP_PROP_N_THREADS, 1]
    if kind is SourceKind.STREAM:
        # A decoder with several threads holds back as many frames; a live view must not.
        options += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(timeouts.open_s * 1000)]
        options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(timeouts.read_s * 1000)]
    return cv2.VideoCapture(with_connection(source, connection), cv2.CAP_FFMPEG, options)


def _stated_fps(capture: Any) -> float | None:
    import cv2

    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps <= FPS_MAX_BELIEVED else None
