"""The paired image bootstrap: both models scored on the same resampled images.

Images are what is drawn at random in the world, boxes of one image are not independent, so
images are resampled (Efron & Tibshirani 1993, chapters 8 and 13). Both models get the same
weights in each round: what makes an image easy or hard is in both and cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cloud.evaluation import average_precision
from cloud.evaluation.matching import Floats, Matches
from cloud.promotion.pair import Side
from protocol.windows import CONFIDENCE_FLOOR

_NORMAL = NormalDist()
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard error over resampled images; NaN figures are no estimate."""

    value: float
    error: float

    def low(self, alpha: float) -> float:
        """One-sided lower bound: below it with probability `alpha`."""
        return self.value - quantile(alpha) * self.error

    def high(self, alpha: float) -> float:
        """One-sided upper bound."""
        return self.value + quantile(alpha) * self.error

    def p_not_below(self, bound: float) -> float:
        """p of "it is `bound` or more", small where the figure lies far below."""
        if self.error == 0:
            return 1.0 if self.value >= bound else 0.0
        return _NORMAL.cdf((self.value - bound) / self.error)


@dataclass(frozen=True)
class PairedPrecision:
    """Average precision of both models by class.

    Attributes:
        candidate, incumbent, difference: (classes,); the incumbent's is 0 where there is none.
        candidate_rounds, difference_rounds: (rounds, classes) of the resampled images.
    """

    classes: tuple[int, ...]
    truth_boxes: tuple[int, ...]
    candidate: Floats
    incumbent: Floats
    candidate_rounds: Floats
    difference_rounds: Floats

    @property
    def difference(self) -> Floats:
        return np.asarray(self.candidate - self.incumbent)

    def of(self, place: int, *, alone: bool = False) -> Estimate:
        """The difference in the class at `place`; `alone`: the candidate's own figure."""
        values, rounds = self._pick(alone)
        return _estimate(values[place], rounds[:, place], 1 / self.truth_boxes[place])

    def overall(self, places: Sequence[int], *, alone: bool = False) -> Estimate:
        """The mean over the classes at `places`."""
        values, rounds = self._pick(alone)
        chosen = list(places)
        one_object = np.sqrt(sum(self.truth_boxes[p] ** -2.0 for p in chosen)) / len(chosen)
        return _estimate(
            float(values[chosen].mean()),
            average_precision.mean(rounds[:, chosen]),
            float(one_object),
        )

    def _pick(self, alone: bool) -> tuple[Floats, Floats]:
        if alone:
            return self.candidate, self.candidate_rounds
        return self.difference, self.difference_rounds


def quantile(alpha: float) -> float:
    """The standard normal's 1 - alpha quantile: 1.645 for 0.05."""
    return _NORMAL.inv_cdf(1 - alpha)


def image_weights(images: Sequence[str], rounds: int, rng: np.random.Generator) -> Floats:
    """How often each image is drawn in each round, (rounds, images).

    The draws go to the images by the order of their digests, so the same images in another
    order get the same weights.
    """
    count = len(images)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=rounds).astype(np.float64)
    weights = np.empty_like(draws)
    weights[:, np.argsort(np.array(images), kind="stable")] = draws
    return weights


def paired_precision(
    candidate: Matches, incumbent: Matches | None, weights: Floats
) -> PairedPrecision:
    """AP50 of both models by class, as found and in every round of `weights`."""
    classes = tuple(candidate.labelled())
    own = average_precision.per_class(candidate, None, classes)
    own_rounds = average_precision.per_class(candidate, weights, classes)
    if incumbent is None:
        other, other_rounds = np.zeros_like(own), np.zeros_like(own_rounds)
    else:
        other = average_precision.per_class(incumbent, None, classes)
        other_rounds = average_precision.per_class(incumbent, weights, classes)
        # A class that it never predicts has no matches, and an average precision of nothing.
        other = np.where(np.isnan(other), 0.0, other)
        other_rounds = np.where(np.isnan(other_rounds), 0.0, other_rounds)
    return PairedPrecision(
        classes=classes,
        truth_boxes=tuple(candidate.per_class[c].truth_boxes for c in classes),
        candidate=own,
        incumbent=other,
        candidate_rounds=own_rounds,
        difference_rounds=own_rounds - other_rounds,
    )


def calibration_error(side: Side, weights: Floats) -> Floats:
    """Expected calibration error in each round of `weights` (rounds, images): (rounds,).

    Confidences in CALIBRATION_BINS equal bins; in each, the mean confidence against the share
    that is right, weighted by its detections (Guo et al. 2017). Detections below the floor from
    which devices count are left out: they are many, all wrong, and would hide the rest. 0 where
    nothing was detected.
    """
    sums = np.zeros((2, CALIBRATION_BINS, weights.shape[1]))
    for class_id, found in side.matches.per_class.items():
        worth = np.asarray(side.calibrated[class_id])
        told = found.confidences >= CONFIDENCE_FLOOR
        bins = np.clip((worth * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
        np.add.at(sums[0], (bins, found.images), told * 1.0)
        np.add.at(sums[1], (bins, found.images), told * (worth - found.correct))
    gaps = np.abs(weights @ sums[1].T).sum(axis=1)
    count = (weights @ sums[0].T).sum(axis=1)
    return np.asarray(np.divide(gaps, count, out=np.zeros_like(gaps), where=count > 0))


def duplicate_rate(side: Side, weights: Floats) -> Floats:
    """Share of served boxes that are the same place twice, in each round: (rounds,)."""
    served, doubled = weights @ side.served, weights @ side.duplicates
    return np.asarray(np.divide(doubled, served, out=np.zeros_like(served), where=served > 0))


def difference(value: float, rounds: Floats) -> Estimate:
    """An estimate of any figure of which no single object is the smallest step."""
    return _estimate(value, rounds, 0.0)


def _estimate(value: float, rounds: Floats, one_object: float) -> Estimate:
    """Value and standard error.

    Where both models agree on every object, no resample shows a difference; that few objects
    were asked is known all the same, so the error is never below the weight of one object.
    """
    known = rounds[~np.isnan(rounds)]
    error = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return Estimate(float(value), max(error, one_object))
