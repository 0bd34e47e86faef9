"""Precision, recall and F1 over confidence, and what a serving threshold buys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud.evaluation.matching import Bools, ClassMatches, Floats, Matches


@dataclass(frozen=True)
class Curves:
    """One class (or all as one) at rising thresholds.

    Attributes:
        thresholds: (T,).
        precision: (T,), of what is served; NaN where nothing is.
        recall: (T,); NaN where there is no truth.
        f1: (T,), their harmonic mean as 2 TP / (served + truths); NaN where there is neither.
        served, correct: (T,), detections at or above the threshold and how many are right.
    """

    thresholds: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    served: Floats
    correct: Floats


@dataclass(frozen=True)
class OperatingPoint:
    """What serving from one threshold gives; None where nothing is served or labelled."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None


def is_served(confidences: Floats, thresholds: Floats | float) -> Bools:
    """Whether each confidence is served. A device compares in float32, so this does too."""
    reached: Bools = confidences.astype(np.float32) >= np.asarray(thresholds, dtype=np.float32)
    return reached


def curves(found: ClassMatches, thresholds: Floats) -> Curves:
    """The curves of one class at `thresholds` (T,), in any order."""
    # Falling confidences: what is served is a prefix.
    rising = found.confidences[::-1].astype(np.float32)
    below = np.searchsorted(rising, thresholds.astype(np.float32), side="left")
    served = (len(rising) - below).astype(np.float64)
    right_down_to = np.concatenate([[0.0], np.cumsum(found.correct, dtype=np.float64)])
    correct = right_down_to[len(rising) - below]
    truths = float(found.truth_boxes)
    return Curves(
        thresholds=thresholds,
        precision=_share(correct, served),
        recall=_share(correct, np.full_like(correct, truths)),
        f1=_share(2 * correct, served + truths),
        served=served,
        correct=correct,
    )


def operating_point(found: ClassMatches, threshold: float) -> OperatingPoint:
    """Precision, recall and F1 of one class served from `threshold`."""
    at = curves(found, np.array([threshold]))
    values = (float(v[0]) for v in (at.precision, at.recall, at.f1))
    precision, recall, f1 = (None if np.isnan(v) else v for v in values)
    return OperatingPoint(threshold, precision, recall, f1)


def f1_best(found: ClassMatches, thresholds: Floats) -> OperatingPoint:
    """The best F1 among `thresholds`; of thresholds alike, the highest serves the least."""
    at = curves(found, thresholds)
    f1 = np.where(np.isnan(at.f1), 0.0, at.f1)
    best = float(thresholds[f1 == f1.max()].max())
    return operating_point(found, best)


def pooled(matches: Matches) -> ClassMatches:
    """All classes as one: each detection right or wrong as it was in its own class."""
    parts = list(matches.per_class.values())
    confidences = np.concatenate([p.confidences for p in parts]) if parts else np.zeros(0)
    images = [p.images for p in parts] or [np.zeros(0, dtype=np.int64)]
    correct = [p.correct for p in parts] or [np.zeros(0, dtype=bool)]
    order = np.argsort(-confidences, kind="stable")
    truths = np.zeros(matches.images, dtype=np.int64)
    for part in parts:
        truths = truths + part.truths
    return ClassMatches(
        confidences[order], np.concatenate(correct)[order], np.concatenate(images)[order], truths
    )


def _share(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))
