"""What a bundle says of some images: lines for the file, results for the statistics."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.cameras.images import read_image
from edge_agent.cameras.source import Frame, Image
from edge_agent.clock import Clock
from edge_agent.detect.bundle import LoadedBundle
from edge_agent.detect.detector import CONFIDENCE_FLOOR, Detections
from edge_agent.detect.letterbox import Prepared
from edge_agent.detect.serving import Serving
from edge_agent.errors import BadImageError
from edge_agent.observe.quality import luminance_and_sharpness
from edge_agent.results import FrameResult

EVALUATION = "evaluation"
"""Stands for the camera and the slot, which an evaluation has not."""

_DIGITS = 3


@dataclass(frozen=True)
class Answer:
    """What the bundle says of one image.

    Attributes:
        line: JSON, for the file of answers.
        result: as the pipeline would give it, from the telemetry's floor on.
        luminance, sharpness: as the device's statistics measure them.
    """

    line: str
    result: FrameResult
    luminance: float
    sharpness: float


class Evaluator:
    """Reads, prepares and infers images as a slot's thread does; any number of threads may.

    Args:
        floor: the lowest confidence that a line tells.
    """

    def __init__(self, loaded: LoadedBundle, floor: float, clock: Clock) -> None:
        self._loaded, self._floor, self._clock = loaded, floor, clock
        self._serving = Serving(loaded.manifest)
        self._memory = threading.local()

    def __call__(self, paths: Sequence[Path]) -> list[Answer | BadImageError]:
        """For each of 1 to `batch_max` images its answer, or why it cannot be read.

        Raises DetectorError where the model fails.
        """
        read = [_read(path) for path in paths]
        images = [image for image in read if not isinstance(image, BadImageError)]
        answers = iter(self._infer(images) if images else ())
        return [
            found if isinstance(found, BadImageError) else self._answer(path, *next(answers))
            for path, found in zip(paths, read, strict=True)
        ]

    def _infer(self, images: Sequence[Image]) -> list[tuple[Image, Image, Detections, float]]:
        """Image, image as the model saw it, detections and latency (ms) of each."""
        detector, memory = self._loaded.detector, self._memory
        last: Prepared | None = getattr(memory, "last", None)
        prepared = memory.last = detector.prepare(images, last)
        started_s = self._clock.monotonic()
        found = detector.infer(prepared)
        latency_ms = (self._clock.monotonic() - started_s) * 1000
        return [
            (image, inner, detections, latency_ms)
            for image, inner, detections in zip(images, prepared.inners, found, strict=True)
        ]

    def _answer(
        self, path: Path, image: Image, inner: Image, found: Detections, latency_ms: float
    ) -> Answer:
        counted = _from(found, CONFIDENCE_FLOOR)
        at_s, wall_s = self._clock.monotonic(), self._clock.wall()
        result = FrameResult(
            camera=EVALUATION,
            slot=EVALUATION,
            frame=Frame(EVALUATION, image, EVALUATION, 0, wall_s, at_s, path.name),
            bundle_digest=self._loaded.digest,
            manifest=self._loaded.manifest,
            detections=counted,
            served=self._serving.mask(counted),
            calibrated=self._serving.calibrated(counted),
            latency_ms=latency_ms,
            result_at=wall_s,
            result_monotonic=at_s,
            inner=inner,
        )
        luminance, sharpness = luminance_and_sharpness(inner)
        row = {
            "image": str(path),
            "width": result.frame.width,
            "height": result.frame.height,
            "detections": _rows(_from(found, self._floor)),
            "latency_ms": round(latency_ms, _DIGITS),
            "luminance": round(luminance, _DIGITS),
            "sharpness": round(sharpness, _DIGITS),
        }
        return Answer(json.dumps(row, allow_nan=False), result, luminance, sharpness)


def _read(path: Path) -> Image | BadImageError:
    try:
        return read_image(path)
    except BadImageError as error:
        return error


def _from(found: Detections, floor: float) -> Detections:
    """Those at or above `floor`, in their order."""
    chosen = np.flatnonzero(found.confidences >= np.float32(floor))
    if len(chosen) == len(found):
        return found
    return Detections(
        found.boxes[chosen],
        found.confidences[chosen],
        found.class_ids[chosen],
        found.margins[chosen],
    )


def _rows(found: Detections) -> list[dict[str, object]]:
    columns = (found.class_ids, found.confidences, found.boxes, found.margins)
    return [
        {"class_id": class_id, "confidence": confidence, "box": box, "margin": margin}
        for class_id, confidence, box, margin in zip(*(c.tolist() for c in columns), strict=True)
    ]
