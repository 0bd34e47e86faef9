"""A frame with what was seen in it, as a picture for people."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_agent.cameras.source import Image
from edge_agent.local.view import Zone
from edge_agent.results import FrameResult

Colour = tuple[int, int, int]

ZONE_COLOUR: Colour = (230, 230, 230)
BANNER_HEIGHT_PX = 24
GOLDEN_TURN = 0.618034


def annotate(result: FrameResult, zones: Sequence[Zone], width_px_max: int) -> Image:
    """uint8 (H, W, 3), BGR: the served detections, the zones and a line that says what it is.

    No wider than `width_px_max`; the result's own frame is left as it is.
    """
    import cv2

    frame = result.frame.image
    share = min(1.0, width_px_max / frame.shape[1])
    size = max(1, round(frame.shape[1] * share)), max(1, round(frame.shape[0] * share))
    picture: Any = frame.copy() if share == 1 else cv2.resize(frame, size, None, 0, 0, 3)
    for zone in zones:
        corners = np.round(np.array(zone.corners) * (size[0] - 1, size[1] - 1)).astype(np.int32)
        cv2.polylines(picture, [corners], True, ZONE_COLOUR, 2, cv2.LINE_AA)
        _label(picture, zone.name, (int(corners[0][0]), int(corners[0][1])), ZONE_COLOUR)
    for i in np.flatnonzero(result.served):
        x1, y1, x2, y2 = (round(float(edge) * share) for edge in result.detections.boxes[i])
        colour = colour_of(int(result.detections.class_ids[i]))
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 2)
        _label(picture, _text(result, int(i)), (x1, y1), colour)
    _banner(picture, result)
    return np.asarray(picture, dtype=np.uint8)


def waiting(camera: str, width_px: int = 640, height_px: int = 360) -> Image:
    """A picture that says that there is none yet."""
    import cv2

    picture = np.full((height_px, width_px, 3), 48, dtype=np.uint8)
    place = (24, height_px // 2)
    text = _printable(f"{camera}: no picture yet")
    cv2.putText(
        picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (200, 200, 200), 1, cv2.LINE_AA
    )
    return picture


def colour_of(class_id: int) -> Colour:
    """A bright colour, BGR, that neighbouring classes do not share."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + class_id * GOLDEN_TURN) % 1, 0.75, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def _text(result: FrameResult, i: int) -> str:
    name = result.manifest.class_names[int(result.detections.class_ids[i])]
    text = f"{name} {result.calibrated[i]:.2f}"
    if result.track_ids is not None and result.track_ids[i] >= 0:
        text += f" #{result.track_ids[i]}"
    return text


def _label(picture: Any, text: str, place: tuple[int, int], colour: Colour) -> None:
    """Dark text on a coloured field above `place`, or below it at the picture's edge."""
    import cv2

    text = _printable(text)
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    x = max(0, min(place[0], picture.shape[1] - width - 4))
    top = place[1] - height - base - 2
    top = top if top >= 0 else place[1]
    cv2.rectangle(picture, (x, top), (x + width + 4, top + height + base + 2), colour, -1)
    baseline = (x + 2, top + height + 1)
    cv2.putText(picture, text, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)


def _banner(picture: Any, result: FrameResult) -> None:
    import cv2

    strip = picture[-BANNER_HEIGHT_PX:]
    strip[:] = strip // 3
    text = _printable(
        f"{result.camera}  {result.model} v{result.version}  {result.latency_ms:.1f} ms  "
        f"{int(result.served.sum())} seen"
    )
    place = (6, picture.shape[0] - 7)
    cv2.putText(
        picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
    )


def _printable(text: str) -> str:
    """OpenCV's fonts have ASCII alone."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
