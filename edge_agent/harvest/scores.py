"""How unsure a detector was of a frame. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_agent.detect.detector import Floats

TOP_K = 3


def confidence_uncertainty(confidences: Floats, top_k: int = TOP_K) -> float:
    """Mean of 4p(1 - p), largest at p = 0.5, over the `top_k` most uncertain detections.

    `confidences` are calibrated, float32 (N,); the answer is in 0..1, 0 where there is none.
    """
    p = confidences.astype(np.float64)
    return _mean_of_top(4 * p * (1 - p), top_k)


def margin_uncertainty(confidences: Floats, margins: Floats, top_k: int = TOP_K) -> float:
    """The same of 1 - margin/p, largest where a rival class of the same anchor is as likely.

    Both are raw, float32 (N,), with confidences above 0.
    """
    return _mean_of_top(1 - margins / confidences.astype(np.float64), top_k)


def _mean_of_top(each: npt.NDArray[np.float64], top_k: int) -> float:
    if not len(each):
        return 0.0
    return float(np.clip(np.sort(each)[-top_k:].mean(), 0.0, 1.0))
