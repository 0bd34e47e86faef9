"""How each kind of source is opened."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_agent.cameras.folder import IMAGE_SUFFIXES, FolderSource
from edge_agent.cameras.gstreamer import csi_pipeline, given_pipeline, nvdec_pipeline
from edge_agent.cameras.images import ImageLimits, check_image
from edge_agent.cameras.limits import CaptureLimits
from edge_agent.cameras.reach import check_answers
from edge_agent.cameras.source import (
    CameraSpec,
    Decoder,
    Source,
    SourceKind,
    Transport,
    check_source,
)
from edge_agent.cameras.timed import TimedSource
from edge_agent.cameras.video import VideoSource
from edge_agent.errors import BadImageError, CameraError

OpenSource = Callable[[CameraSpec, str, CaptureLimits], Source]
"""Opens a camera's source under a connection token. Raises CameraError."""


class Opener:
    """Opens one camera's source, again and again.

    FFmpeg keeps time limits for what comes over the network; drivers and GStreamer get
    theirs from a `TimedSource`. While a driver holds its thread, nothing is opened anew, so
    a device that hangs costs one thread and not one for each try.
    """

    def __init__(self) -> None:
        self._timed: TimedSource | None = None

    def __call__(self, spec: CameraSpec, connection: str, limits: CaptureLimits) -> Source:
        check_source(spec.source)
        if spec.kind is SourceKind.FOLDER:
            return FolderSource(Path(spec.source), limits.images)
        if spec.kind is SourceKind.FILE:
            _check_file(spec, limits.images)
            return _video(spec, limits, _file)
        if spec.kind is SourceKind.STREAM and spec.decoder is Decoder.CPU:
            return _video(spec, limits, lambda s, li: _stream(s, li, connection))
        return self._open_timed(spec, limits)

    def _open_timed(self, spec: CameraSpec, limits: CaptureLimits) -> Source:
        if self._timed is not None and self._timed.hangs:
            raise CameraError(
                f"{spec.name} still hangs in its driver; unplug it and plug it in again"
            )
        opened = _usb if spec.kind is SourceKind.USB else _gstreamer
        self._timed = TimedSource(
            spec.name, lambda: _video(spec, limits, opened), limits.read_timeout_s
        )
        self._timed.open(limits.open_timeout_s)
        return self._timed


def with_connection(url: str, connection: str) -> str:
    """`url` with the query parameter `connection`, for http and https; others unchanged.

    What is there already stays as it is written: `?user`, `%2F` and `+` mean to a camera
    what its maker says.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        return url
    address, mark, fragment = url.partition("#")
    return f"{address}{'&' if '?' in address else '?'}connection={connection}{mark}{fragment}"


def with_transport(url: str, transport: Transport) -> str:
    """`url` with FFmpeg's own option of what carries RTSP; it is never sent to the camera."""
    if not url.startswith(("rtsp://", "rtsps://")):
        return url
    return f"{url}{'&' if '?' in url else '?'}{transport.value}"


def gstreamer_pipeline(spec: CameraSpec, timeout_s: float) -> str:
    """The pipeline that reads the camera by GStreamer."""
    if spec.kind is SourceKind.CSI:
        return csi_pipeline(spec)
    if spec.kind is SourceKind.GSTREAMER:
        return given_pipeline(spec)
    return nvdec_pipeline(spec, timeout_s)


def _video(
    spec: CameraSpec, limits: CaptureLimits, opened: Callable[[CameraSpec, CaptureLimits], Any]
) -> VideoSource:
    return VideoSource(opened(spec, limits), spec, limits.images.pixels_max)


def _check_file(spec: CameraSpec, limits: ImageLimits) -> None:
    """FFmpeg would wait for ever for a writer of a named pipe, and hides why it takes no image."""
    try:
        mode = Path(spec.source).stat().st_mode
    except (OSError, ValueError) as error:
        raise CameraError(
            f"no file or folder at {spec.source}; check the camera's source"
        ) from error
    if not stat.S_ISREG(mode):
        raise CameraError(f"{spec.source} is neither a file nor a folder; name one")
    if Path(spec.source).suffix.lower() in IMAGE_SUFFIXES:
        try:
            check_image(Path(spec.source), limits)
        except BadImageError as error:
            raise CameraError(str(error)) from error


def _file(spec: CameraSpec, _limits: CaptureLimits) -> Any:
    import cv2

    return cv2.VideoCapture(spec.source, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _stream(spec: CameraSpec, limits: CaptureLimits, connection: str) -> Any:
    import cv2

    check_answers(spec.source, limits.open_timeout_s)
    url = with_connection(spec.source, connection) if spec.connection_token else spec.source
    url = with_transport(url, spec.transport)
    # A decoder with several threads holds back as many frames; a live view must not.
    options = [cv2.CAP_PROP_N_THREADS, 1]
    options += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(limits.open_timeout_s * 1000)]
    options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(limits.read_timeout_s * 1000)]
    return cv2.VideoCapture(url, cv2.CAP_FFMPEG, options)


def _usb(spec: CameraSpec, _limits: CaptureLimits) -> Any:
    import cv2

    device = spec.source.removeprefix("usb:")
    return cv2.VideoCapture(int(device) if device.isdecimal() else device, cv2.CAP_V4L2)


def _gstreamer(spec: CameraSpec, limits: CaptureLimits) -> Any:
    import cv2

    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise CameraError(
            f"{spec.name} needs an OpenCV with GStreamer, and this one is built without; "
            "take the system's (Debian, JetPack: apt-get install python3-opencv) or build "
            "it with -D WITH_GSTREAMER=ON"
        )
    pipeline = gstreamer_pipeline(spec, limits.open_timeout_s)
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
