"""From a model's whole output to detections in frame pixels; the same for every runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detections, Floats
from edge_agent.detect.heads import (
    BOX_ROWS,
    END2END_COLUMNS,
    HEADS,
    RawDetections,
    deduplicate,
)
from edge_agent.detect.letterbox import Geometry
from edge_agent.errors import DetectorError
from protocol.bundles import Manifest

# Rounding may carry a score past 1 by this; what lies further off is no probability.
_CONFIDENCE_SLACK = 1e-2


class Postprocess:
    """How one build's output becomes detections: head, floor, deduplication, and what is no
    answer at all.

    Args:
        artifact: its file's name, for errors.
        floor: the lowest confidence that is answered.
    """

    def __init__(self, artifact: str, manifest: Manifest, floor: float) -> None:
        self._artifact, self._floor = artifact, floor
        self._head, self._parse = manifest.head, HEADS[manifest.head]
        self._classes = len(manifest.class_names)
        after = manifest.postprocessing
        self._deduplicate_iou = None if after is None else after.deduplicate_iou

    def __call__(
        self, output: npt.NDArray[Any], geometries: Sequence[Geometry]
    ) -> tuple[Detections, ...]:
        """Detections of each frame, in memory of their own.

        Args:
            output: (B, rows, columns) of floats, B at least the number of frames; rows after
                the frames' own are not looked at.
            geometries: where each frame lies in the input.

        Raises DetectorError where the output has another shape, NaN, infinity, scores that
        are no probabilities, or classes that the manifest does not name.
        """
        self._check_shape(output, len(geometries))
        rows: Floats = output[: len(geometries)].astype(np.float32, copy=False)
        if not np.isfinite(rows).all():
            raise self._broken("NaN or infinity")
        return tuple(map(self._detections, rows, geometries))

    def _detections(self, rows: Floats, geometry: Geometry) -> Detections:
        found = self._parse(rows, self._floor)
        if not len(found):
            return Detections.none()
        found = self._sound(found)
        if self._deduplicate_iou is not None:
            found = deduplicate(found, self._deduplicate_iou)
        boxes = geometry.to_frame(found.boxes)
        return Detections(boxes, found.confidences, found.class_ids, found.margins)

    def _sound(self, found: RawDetections) -> RawDetections:
        """`found` without boxes of negative size; classes and scores are checked."""
        low, high = int(found.class_ids.min()), int(found.class_ids.max())
        if not 0 <= low <= high < self._classes:
            raise self._broken(f"classes {low} to {high} where the manifest names {self._classes}")
        if float(found.confidences.max()) > 1 + _CONFIDENCE_SLACK:
            raise self._broken(f"a confidence of {found.confidences.max():.3g}")
        np.minimum(found.confidences, 1, out=found.confidences)
        positive = np.flatnonzero((found.boxes[:, 2:] >= found.boxes[:, :2]).all(axis=1))
        return found if len(positive) == len(found) else found.only(positive)

    def _check_shape(self, output: npt.NDArray[Any], frames: int) -> None:
        size = END2END_COLUMNS if self._head == "end2end" else BOX_ROWS + self._classes
        axis = 2 if self._head == "end2end" else 1
        if output.ndim != 3 or output.shape[axis] != size or len(output) < frames:
            raise DetectorError(
                f"{self._artifact} answered {output.shape} to {frames} frames, which is not the "
                f"{self._head} head of {self._classes} classes; export it again"
            )
        if output.dtype.kind != "f":
            raise self._broken(f"values of {output.dtype}")

    def _broken(self, what: str) -> DetectorError:
        return DetectorError(
            f"{self._artifact} answered with {what}; "
            "go back to the previous bundle and evaluate this one"
        )
