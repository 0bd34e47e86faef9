"""What bad light, soil on a lens, a shaken mount or a thrifty stream do to a build; pure.

Six perturbations, each at five strengths, all from one table. The mean over all of them
relative to the clean figure is mPC and rPC of Michaelis et al. 2019, "Benchmarking Robustness in
Object Detection", with perturbations of a fixed camera. mAP50 is what is compared: the
box around a rotated object is wider than the object, which mAP50-95 would take for a fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud.evaluation.coco import ScoredBox

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

STRENGTHS: tuple[int, ...] = (1, 2, 3, 4, 5)
REFERENCE_SIDE_PX = 640
FILL = 114
"""Grey of what lies outside a rotated image and of what covers it: the letterbox's own."""
RECTANGLES = 6


@dataclass(frozen=True)
class Light:
    """out = 255 · gain · (in / 255) ** gamma, clipped."""

    gain: float
    gamma: float


PERTURBATIONS: dict[str, tuple[Any, ...]] = {
    # Darker and brighter in turns, so that neither direction is the easy half.
    "light": (Light(0.7, 1.0), Light(1.4, 1.0), Light(0.6, 1.5), Light(1.8, 0.8), Light(0.3, 1.5)),
    # Sigma of a Gaussian in px, and as much more as the longer side has more than 640.
    "blur": (0.6, 1.0, 1.6, 2.4, 3.5),
    # Sigma in grey levels, of each channel of each pixel.
    "noise": (5.0, 10.0, 18.0, 30.0, 45.0),
    # Quality.
    "jpeg": (60, 40, 25, 15, 8),
    # Degrees about the centre, to a side that the dice choose.
    "rotation": (1.0, 2.0, 3.0, 4.0, 5.0),
    # Share of the image under grey rectangles (where they overlap, a little less).
    "occlusion": (0.03, 0.06, 0.1, 0.15, 0.2),
}
"""By name, what strengths 1 to 5 are."""


def perturb(
    image: Image, boxes: Sequence[ScoredBox], name: str, strength: int, rng: np.random.Generator
) -> tuple[Image, tuple[ScoredBox, ...]]:
    """The image (H, W, 3) as the perturbation leaves it, and where its objects are then.

    The same generator state gives the same image. The image that was given is not changed. Boxes
    move by rotation only, into the upright boxes around their corners; what is turned out of
    the image is left out. What is covered stays: the object is there.

    Raises:
        KeyError: there is no such perturbation.
        ValueError: the strength is not 1 to 5, or the image is not uint8 (H, W, 3).
    """
    if strength not in STRENGTHS:
        raise ValueError(f"strength {strength} is not 1 to {STRENGTHS[-1]}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    value = PERTURBATIONS[name][strength - 1]
    if name == "rotation":
        degrees = float(value) * (1 if rng.random() < 0.5 else -1)
        return rotated(image, boxes, degrees)
    return _CHANGES[name](image, value, rng), tuple(boxes)


def rotated(
    image: Image, boxes: Sequence[ScoredBox], degrees: float
) -> tuple[Image, tuple[ScoredBox, ...]]:
    """The image turned about its centre, counter-clockwise as seen, and its boxes with it."""
    import cv2

    height, width = image.shape[:2]
    # Pixel n is drawn around n, and an edge at n lies half a pixel before it.
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    turned = cv2.warpAffine(image, matrix, (width, height), borderValue=(FILL, FILL, FILL))
    radians = math.radians(degrees)
    cosine, sine = math.cos(radians), math.sin(radians)
    found = []
    for box in boxes:
        x1, y1, x2, y2 = box.box
        corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]) - (width / 2, height / 2)
        x = corners[:, 0] * cosine + corners[:, 1] * sine + width / 2
        y = -corners[:, 0] * sine + corners[:, 1] * cosine + height / 2
        x1, x2 = np.clip([x.min(), x.max()], 0.0, width).tolist()
        y1, y2 = np.clip([y.min(), y.max()], 0.0, height).tolist()
        if x2 > x1 and y2 > y1:
            found.append(replace(box, box=(x1, y1, x2, y2)))
    return np.asarray(turned, dtype=np.uint8), tuple(found)


def robustness_report(
    clean_map50: float | None, by_perturbation: Mapping[str, Sequence[float | None]]
) -> dict[str, Any]:
    """The suite's figures, ready for JSON.

    Args:
        by_perturbation: mAP50 at strengths 1 to 5, by name.

    Returns:
        {"clean", "mean", "relative", "per_perturbation": {name: {"map50": [five],
        "relative": [five], "mean_relative"}}}. `mean` is over all (mPC), `relative` is mean ÷
        clean (rPC). None where the clean figure is 0 or none.
    """
    clean = _known(clean_map50)
    table: dict[str, dict[str, Any]] = {}
    for name, values in by_perturbation.items():
        known = [_known(v) for v in values]
        relative = [_relative(v, clean) for v in known]
        table[name] = {
            "map50": known,
            "relative": relative,
            "mean_relative": _mean(relative),
        }
    mean = _mean([v for entry in table.values() for v in entry["map50"]])
    return {
        "clean": clean,
        "mean": mean,
        "relative": _relative(mean, clean),
        "per_perturbation": table,
    }


def _light(image: Image, value: Light, _rng: np.random.Generator) -> Image:
    levels = np.arange(256) / 255
    table = np.clip(255 * value.gain * levels**value.gamma, 0, 255).round().astype(np.uint8)
    return table[image]


def _blur(image: Image, value: float, _rng: np.random.Generator) -> Image:
    import cv2

    sigma_px = value * max(1.0, max(image.shape[:2]) / REFERENCE_SIDE_PX)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), dtype=np.uint8)


def _noise(image: Image, value: float, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(value)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _jpeg(image: Image, value: int, _rng: np.random.Generator) -> Image:
    import cv2

    _done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, value])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def _occlusion(image: Image, value: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    covered = image.copy()
    for _ in range(RECTANGLES):
        area = value / RECTANGLES
        aspect = math.exp(rng.uniform(math.log(0.5), math.log(2.0)))
        w = max(1, round(width * math.sqrt(area * aspect)))
        h = max(1, round(height * math.sqrt(area / aspect)))
        left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        covered[top : top + h, left : left + w] = FILL
    return covered


_CHANGES: dict[str, Callable[[Image, Any, np.random.Generator], Image]] = {
    "light": _light,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "occlusion": _occlusion,
}


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _relative(value: float | None, clean: float | None) -> float | None:
    return value / clean if value is not None and clean else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
