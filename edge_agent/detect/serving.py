"""From a model's scores to what is served and counted: thresholds and calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Detections, Floats
from edge_agent.errors import DetectorError
from protocol.bundles import Manifest


class Serving:
    """The thresholds and the calibration of one manifest, as arrays."""

    def __init__(self, manifest: Manifest) -> None:
        self._name = f"{manifest.model} v{manifest.version}"
        self._thresholds = class_thresholds(manifest)
        points = manifest.calibration
        self._points = None if points is None else (points.raw, points.calibrated)

    def mask(self, detections: Detections) -> npt.NDArray[np.bool_]:
        """Which detections reach their class's threshold, bool (N,).

        Raises DetectorError on a class that the manifest does not name.
        """
        ids, known = detections.class_ids, len(self._thresholds)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < known:
            raise DetectorError(
                f"{self._name} answers with classes {ids.min()} to {ids.max()}, its manifest "
                f"names {known}; export it again"
            )
        reached: npt.NDArray[np.bool_] = detections.confidences >= self._thresholds[ids]
        return reached

    def calibrated(self, detections: Detections) -> Floats:
        """The confidences after calibration, float32 (N,); as they are where there is none."""
        if self._points is None:
            return detections.confidences
        calibrated: Floats = np.interp(detections.confidences, *self._points).astype(np.float32)
        return calibrated


def class_thresholds(manifest: Manifest) -> Floats:
    """Serving threshold (classes,) by class id."""
    count = len(manifest.class_names)
    return np.array([manifest.thresholds.of(i) for i in range(count)], dtype=np.float32)
