"""How unsure a detector was of a frame. Pure."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edge_agent.detect.detector import Detections

Signal = Literal["confidence", "margin"]

TOP_K = 3


def image_uncertainty(
    detections: Detections, signal: Signal = "confidence", top_k: int = TOP_K
) -> float:
    """Mean uncertainty (0..1) of the `top_k` most uncertain detections; 0 where there is none.

    By "confidence" a detection's uncertainty is 4p(1 - p), largest at p = 0.5; by "margin"
    it is 1 - margin/p, largest where a rival class of the same anchor is as likely.
    """
    if not len(detections):
        return 0.0
    p = detections.confidences.astype(np.float64)
    each = 4 * p * (1 - p) if signal == "confidence" else 1 - detections.margins / p
    top = np.sort(each)[-top_k:]
    return float(np.clip(top.mean(), 0.0, 1.0))
