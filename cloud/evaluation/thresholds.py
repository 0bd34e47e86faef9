"""Serving thresholds fitted on labelled images: the F1-best of each class that has enough boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cloud.evaluation.curves import OperatingPoint, f1_best, operating_point, pooled
from cloud.evaluation.matching import ClassMatches, Floats, Matches
from protocol.bundles import Thresholds

BOXES_MIN = 20
LOWEST, HIGHEST = 0.05, 0.95
DEFAULT = 0.25
CANDIDATES: Floats = np.round(np.linspace(LOWEST, HIGHEST, 901), 3)
"""Thousandths, so that a threshold is a number that a person can say and set."""

Origin = Literal["class", "overall", "default"]


@dataclass(frozen=True)
class ThresholdFit:
    """Thresholds for a bundle, and of each class by name which was taken and why."""

    thresholds: Thresholds
    report: dict[str, dict[str, Any]]


def fit(matches: Matches, class_names: Sequence[str]) -> ThresholdFit:
    """F1-best thresholds of a matching of the calibration split.

    A class with 20 boxes or more, one of them found, has its own; the others share the
    F1-best over all classes together; where all have fewer than 20 boxes together, it is 0.25.
    Of thresholds with the same F1 the higher is taken.
    """
    default, origin, why = _shared(pooled(matches))
    own: dict[int, float] = {}
    report: dict[str, dict[str, Any]] = {}
    for class_id, name in enumerate(class_names):
        found = matches.per_class.get(class_id)
        boxes = 0 if found is None else found.truth_boxes
        best = None if found is None or boxes < BOXES_MIN else f1_best(found, CANDIDATES)
        if best is not None and best.f1:
            own[class_id] = best.threshold
            report[name] = _said(best, boxes, "class", f"F1-best over its {boxes} boxes")
            continue
        lack = "none of its boxes is found" if boxes >= BOXES_MIN else f"it has {boxes} boxes"
        point = (
            OperatingPoint(default, None, None, None)
            if found is None
            else operating_point(found, default)
        )
        report[name] = _said(point, boxes, origin, f"{lack}, so {why}")
    return ThresholdFit(Thresholds(default=default, per_class=own), report)


def _shared(everything: ClassMatches) -> tuple[float, Origin, str]:
    """The threshold of classes without their own, where it is from and why."""
    boxes = everything.truth_boxes
    if boxes < BOXES_MIN:
        return DEFAULT, "default", f"the default: all classes together have {boxes}"
    best = f1_best(everything, CANDIDATES)
    if not best.f1:
        return DEFAULT, "default", "the default: nothing at all is found"
    return best.threshold, "overall", f"the F1-best over all {boxes} boxes"


def _said(point: OperatingPoint, boxes: int, origin: Origin, why: str) -> dict[str, Any]:
    return {
        "threshold": point.threshold,
        "precision": point.precision,
        "recall": point.recall,
        "f1": point.f1,
        "truth_boxes": boxes,
        "from": origin,
        "why": why,
    }
