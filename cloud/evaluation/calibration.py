"""From a raw confidence to how often it is right, fitted on images that were not trained on.

Isotonic regression (Zadrozny and Elkan 2002) and Platt's sigmoid (1999, here over the logit of
the confidence) compete with leaving the confidence as it is. What is compared is the reduced
line that would ship, by log loss on images that it was not fitted on: detections of one image
are alike, so an image is never on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from cloud.evaluation.curves import pooled
from cloud.evaluation.matching import Bools, Floats, Integers, Matches
from protocol.bundles import Calibration

FLOOR = 0.05
"""Where the device's statistics begin; what is fainter is neither counted nor harvested."""
ECE_BINS = 15
POINTS_MAX = 32
EACH_MIN, IMAGES_MIN = 20, 8
FOLDS = 5
_DECIMALS = 6
_EDGE = 1e-6

Method = Literal["isotonic", "platt", "identity"]


@dataclass(frozen=True)
class Samples:
    """Detections with their outcomes: confidences (N,), correct (N,), images (N,)."""

    confidences: Floats
    correct: Bools
    images: Integers

    def only(self, chosen: Bools) -> Samples:
        return Samples(self.confidences[chosen], self.correct[chosen], self.images[chosen])


@dataclass(frozen=True)
class CalibrationFit:
    """A calibration for a bundle, or None, and why.

    Attributes:
        log_loss: mean over held-out detections, by method; empty where nothing was fitted.
        ece_raw, ece_held_out: expected calibration error before, and with the chosen method on
            images that it was not fitted on; None without detections.
    """

    calibration: Calibration | None
    method: Method
    reason: str
    detections: int
    log_loss: dict[str, float]
    ece_raw: float | None
    ece_held_out: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON shape without the points, which are the bundle's."""
        values = asdict(self)
        values.pop("calibration")
        return values


def samples(matches: Matches, floor: float = FLOOR) -> Samples:
    """The detections of all classes at or above `floor`, right as matched."""
    found = pooled(matches)
    kept = found.confidences >= floor
    return Samples(found.confidences[kept], found.correct[kept], found.images[kept])


def fit(found: Samples) -> CalibrationFit:
    """The calibration with the least held-out log loss; None where leaving it is as good.

    Also None with fewer than 20 right or 20 wrong detections, or fewer than 8 images.
    """
    raw = expected_calibration_error(found.confidences, found.correct)
    right, images = int(found.correct.sum()), len(np.unique(found.images))
    wrong = len(found.correct) - right
    if min(right, wrong) < EACH_MIN or images < IMAGES_MIN:
        reason = (
            f"{right} right and {wrong} wrong detections in {images} images; a calibration "
            f"needs {EACH_MIN} of each and {IMAGES_MIN} images"
        )
        return CalibrationFit(None, "identity", reason, len(found.correct), {}, raw, raw)
    held_out = _held_out(found)
    if held_out is None:
        reason = "some images hold all right or all wrong detections; it cannot be cross-validated"
        return CalibrationFit(None, "identity", reason, len(found.correct), {}, raw, raw)
    losses = {name: log_loss(p, found.correct) for name, p in held_out.items()}
    # In this order, so that of methods alike the plainer is taken.
    methods: tuple[Method, ...] = ("identity", "platt", "isotonic")
    best = min((m for m in methods if m in losses), key=lambda m: losses[m])
    said = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    return CalibrationFit(
        calibration=None if best == "identity" else _FITTERS[best](found),
        method=best,
        reason=f"{best} has the least held-out log loss ({said})",
        detections=len(found.correct),
        log_loss=losses,
        ece_raw=raw,
        ece_held_out=expected_calibration_error(held_out[best], found.correct),
    )


def apply(calibration: Calibration | None, confidences: Floats) -> Floats:
    """Calibrated confidences (N,), as the device computes them."""
    if calibration is None:
        return confidences
    return np.asarray(np.interp(confidences, calibration.raw, calibration.calibrated))


def expected_calibration_error(
    confidences: Floats, correct: Bools, bins: int = ECE_BINS
) -> float | None:
    """|mean confidence - share that is right|, over equal-width bins weighed by their counts.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", with their 15 bins; for a
    detector "right" is matched at IoU 0.5. None without detections.
    """
    if not len(confidences):
        return None
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    said = np.bincount(place, weights=confidences, minlength=bins)
    right = np.bincount(place, weights=correct.astype(np.float64), minlength=bins)
    return float(np.abs(said - right).sum() / len(confidences))


def log_loss(probabilities: Floats, correct: Bools) -> float:
    """Mean of -ln of the probability that was given to what came true."""
    given = np.clip(np.where(correct, probabilities, 1 - probabilities), _EDGE, 1.0)
    return float(-np.log(given).mean())


def _held_out(found: Samples) -> dict[str, Floats] | None:
    """Each method's calibrated confidence of every detection, fitted without its image."""
    fold = np.unique(found.images, return_inverse=True)[1] % FOLDS
    answers = {"identity": found.confidences.copy()}
    for name, fitter in _FITTERS.items():
        held_out = np.zeros_like(found.confidences)
        for number in range(FOLDS):
            rest = found.only(fold != number)
            if rest.correct.all() or not rest.correct.any():
                return None
            fitted = fitter(rest)
            if fitted is None:
                break
            held_out[fold == number] = apply(fitted, found.confidences[fold == number])
        else:
            answers[name] = held_out
    return answers


def _isotonic(found: Samples) -> Calibration | None:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression()
    model.fit(found.confidences, found.correct.astype(np.float64))
    raw, value = np.asarray(model.X_thresholds_), np.asarray(model.y_thresholds_)
    return _line(*_reduced(*_spanning(raw, value, len(found.correct))))


def _platt(found: Samples) -> Calibration | None:
    """A sigmoid over the logit, sampled evenly in it; None where it falls."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6)
    model.fit(_logit(found.confidences)[:, None], found.correct)
    if model.coef_[0, 0] <= 0:
        return None
    raw = 1 / (1 + np.exp(-np.linspace(-7.0, 7.0, POINTS_MAX - 2)))
    value = np.asarray(model.predict_proba(_logit(raw)[:, None]))[:, 1]
    return _line(*_spanning(raw, value, len(found.correct)))


_FITTERS: dict[str, Callable[[Samples], Calibration | None]] = {
    "platt": _platt,
    "isotonic": _isotonic,
}


def _logit(confidences: Floats) -> Floats:
    inside = np.clip(confidences, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def _spanning(raw: Floats, value: Floats, detections: int) -> tuple[Floats, Floats]:
    """The line carried on level to 0 and to 1, its points rounded and strictly rising in raw.

    It is never surer than so many detections allow: the rule of succession.
    """
    edge = 1 / (detections + 2)
    ends = np.concatenate([[0.0], raw, [1.0]])
    rounded, first = np.unique(np.round(ends, _DECIMALS), return_index=True)
    level = np.concatenate([value[:1], value, value[-1:]])[first]
    return rounded, np.maximum.accumulate(np.round(np.clip(level, edge, 1 - edge), _DECIMALS))


def _reduced(raw: Floats, value: Floats) -> tuple[Floats, Floats]:
    """At most 32 of the points: again and again the one that the line misses by most is added.

    The choice of Douglas and Peucker 1973, by vertical distance and up to a number of points.
    """
    kept = {0, len(raw) - 1}
    while len(kept) < min(POINTS_MAX, len(raw)):
        places = sorted(kept)
        missed = np.abs(np.interp(raw, raw[places], value[places]) - value)
        missed[places] = -1.0
        kept.add(int(missed.argmax()))
    places = sorted(kept)
    return raw[places], value[places]


def _line(raw: Floats, value: Floats) -> Calibration:
    return Calibration(raw=tuple(raw.tolist()), calibrated=tuple(value.tolist()))
