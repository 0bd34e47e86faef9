"""Annotated JPEG pictures, drawn when somebody looks and no oftener than allowed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.cameras.source import Image
from edge_agent.errors import OutputError
from edge_agent.local.annotate import annotate, waiting
from edge_agent.local.settings import LocalSection
from edge_agent.local.view import View
from edge_agent.results import FrameResult


@dataclass
class _Drawn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    result: FrameResult | None = None
    jpeg: bytes = b""
    at_s: float = float("-inf")


class Pictures:
    """The last picture of each camera; clients who look at the same one share the drawing.

    Drawing and encoding happen in the thread that asks, so the pipeline never waits.
    """

    def __init__(self, view: View, settings: LocalSection, monotonic: Callable[[], float]) -> None:
        self._view, self._settings, self._monotonic = view, settings, monotonic
        self._drawn = {camera: _Drawn() for camera in view.cameras()}

    def has(self, camera: str) -> bool:
        return camera in self._drawn

    def jpeg(self, camera: str) -> bytes:
        """The camera's latest picture; one that says so where there is none yet.

        Raises OutputError where it cannot be encoded.
        """
        drawn = self._drawn[camera]
        with drawn.lock:
            result, now_s = self._view.latest(camera), self._monotonic()
            known = drawn.jpeg and result is drawn.result
            if not known and now_s - drawn.at_s >= 1 / self._settings.frames_per_s_max:
                picture = (
                    waiting(camera)
                    if result is None
                    else annotate(
                        result, self._view.zones(camera), self._settings.picture_width_px_max
                    )
                )
                drawn.jpeg = encode(picture, self._settings.jpeg_quality)
                drawn.result, drawn.at_s = result, now_s
            return drawn.jpeg


def encode(picture: Image, quality: int) -> bytes:
    """The picture as JPEG. Raises OutputError."""
    import cv2

    done, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OutputError(f"a picture of {picture.shape[1]}x{picture.shape[0]} is no JPEG")
    return jpeg.tobytes()
