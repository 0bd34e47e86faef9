"""Average precision of weighted images: what a bootstrap over images asks for thousands of times.

COCO's definition: precision made never rising from the right, read at the 101 recalls 0, 0.01 …
1 and averaged. An image of weight 2 counts as if it were there twice, one of weight 0 as if it
were not, so unit weights give pycocotools' figure and multinomial ones a bootstrap round
(Efron 1979), with one matching for all.

Precision peaks at right detections only, so the wrong ones need no place of their own: for the
k-th right detection, all that is as confident or more is a count for each image, and the
weighted count of all rounds is one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cloud.evaluation.matching import ClassMatches, Floats, Matches

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
_CELLS_MAX = 4_000_000
"""Numbers in one intermediate array: 32 MB."""


def per_class(
    matches: Matches, weights: Floats | None = None, class_ids: Sequence[int] | None = None
) -> Floats:
    """Average precision of each class in each round.

    Args:
        weights: not negative, (images,) or (rounds, images); None: every image once.
        class_ids: the classes of the columns; None: those of which there is any truth.

    Returns:
        (classes,) for one round of weights, else (rounds, classes); NaN where the weighted
        images hold no object of the class.

    Raises:
        ValueError: the weights are not of these images.
    """
    chosen = np.ones(matches.images) if weights is None else np.asarray(weights, dtype=np.float64)
    rounds = np.atleast_2d(chosen)
    if rounds.shape[1] != matches.images or (rounds < 0).any():
        raise ValueError(f"needs weights of {matches.images} images, none below 0")
    wanted = matches.labelled() if class_ids is None else list(class_ids)
    found = np.full((len(rounds), len(wanted)), np.nan)
    for column, class_id in enumerate(wanted):
        if class_id in matches.per_class:
            found[:, column] = _of_class(matches.per_class[class_id], rounds)
    return found[0] if chosen.ndim == 1 else found


def mean(by_class: Floats) -> Floats:
    """The mean over the last axis without classes that do not occur; NaN where none does."""
    known = ~np.isnan(by_class)
    count = known.sum(axis=-1)
    total = np.where(known, by_class, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def map50(
    matches: Matches, weights: Floats | None = None, class_ids: Sequence[int] | None = None
) -> Floats:
    """mAP of the matching's overlap: (rounds,), or () for one round of weights."""
    return mean(per_class(matches, weights, class_ids))


def _of_class(found: ClassMatches, rounds: Floats) -> Floats:
    """Average precision in each round, (rounds,)."""
    average = np.zeros(len(rounds))
    truths = rounds @ found.truths.astype(np.float64)
    correct = np.flatnonzero(found.correct)
    if len(correct):
        chunk = max(1, _CELLS_MAX // len(correct))
        for start in range(0, len(rounds), chunk):
            part = slice(start, start + chunk)
            average[part] = _of_rounds(found, correct, rounds[part], truths[part])
    average[truths == 0] = np.nan
    return average


def _of_rounds(
    found: ClassMatches, correct: np.ndarray[tuple[int, ...], np.dtype[np.intp]],
    rounds: Floats, truths: Floats,
) -> Floats:  # fmt: skip
    """Average precision in some rounds, from the places of the right detections."""
    right = np.cumsum(rounds[:, found.images[correct]], axis=1)
    seen = _weight_seen(found, correct, rounds)
    precision = np.divide(right, seen, out=np.zeros_like(right), where=seen > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(right, truths[:, None], out=np.zeros_like(right), where=truths[:, None] > 0)
    # Each right detection answers for the recalls between the last one's and its own.
    reached = np.searchsorted(RECALLS, recall, side="right")
    answers = np.diff(reached, axis=1, prepend=0)
    return np.asarray((precision * answers).sum(axis=1) / len(RECALLS))


def _weight_seen(
    found: ClassMatches, correct: np.ndarray[tuple[int, ...], np.dtype[np.intp]], rounds: Floats
) -> Floats:
    """Weight of all detections down to each right one, (rounds, right ones)."""
    images = rounds.shape[1]
    total = np.empty((len(rounds), len(correct)))
    carried = np.zeros(images)
    block = max(1, _CELLS_MAX // max(1, images))
    for start in range(0, len(correct), block):
        ends = correct[start : start + block]
        first = correct[start - 1] + 1 if start else 0
        inside = np.arange(first, ends[-1] + 1)
        cells = np.searchsorted(ends, inside) * images + found.images[inside]
        counts = np.bincount(cells, minlength=len(ends) * images).reshape(len(ends), images)
        cumulated = counts.cumsum(axis=0, dtype=np.float64) + carried
        total[:, start : start + block] = rounds @ cumulated.T
        carried = cumulated[-1]
    return total
