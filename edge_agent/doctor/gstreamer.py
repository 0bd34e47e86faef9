"""Check: OpenCV has what the configured cameras are opened with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_agent.cameras.source import CameraSpec, Decoder, SourceKind
from edge_agent.doctor.finding import Box, Finding, ok, problem

REMEDY = (
    "OpenCV's wheels have no GStreamer: use JetPack's or Debian's python3-opencv, or build "
    "OpenCV with -D WITH_GSTREAMER=ON"
)


def check(box: Box) -> Iterator[Finding]:
    try:
        import cv2
    except ImportError as error:
        yield problem(f"OpenCV cannot be used: {error}", "pip install opencv-python")
        return
    cameras = () if box.config is None else tuple(c.spec() for c in box.config.cameras)
    registry = cv2.videoio_registry
    gstreamer = bool(registry.hasBackend(cv2.CAP_GSTREAMER))
    ffmpeg = bool(registry.hasBackend(cv2.CAP_FFMPEG))
    yield judge(cameras, gstreamer, ffmpeg, str(cv2.__version__))


def judge(cameras: Sequence[CameraSpec], gstreamer: bool, ffmpeg: bool, version: str) -> Finding:
    needing = [c.id for c in cameras if needs_gstreamer(c)]
    if needing and not gstreamer:
        return problem(f"OpenCV {version} lacks GStreamer for {', '.join(needing)}", REMEDY)
    if not ffmpeg:
        return problem(
            f"OpenCV {version} lacks FFmpeg for files and streams", "pip install opencv-python"
        )
    return ok(f"OpenCV {version}: FFmpeg, {'GStreamer' if gstreamer else 'no GStreamer'}")


def needs_gstreamer(camera: CameraSpec) -> bool:
    """CSI cameras, GStreamer strings, and streams that NVDEC is to decode."""
    by_kind = camera.kind in (SourceKind.CSI, SourceKind.GSTREAMER)
    return by_kind or (camera.kind is SourceKind.STREAM and camera.decoder is Decoder.NVDEC)
