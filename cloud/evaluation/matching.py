"""Which detections are right: COCO's greedy matching, as arrays that weigh and slice cheaply.

The rule is pycocotools' own (`COCOeval.evaluateImg`; Lin et al. 2014): in each image and class
the detections choose by falling confidence, each the free truth that it overlaps most, and of
two that it overlaps alike the later one. So what is matched above a confidence does not
depend on what lies below it, and one matching serves every threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud.evaluation.coco import DETECTIONS_PER_IMAGE_MAX, ScoredBox, ScoredImage

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

IOU_50 = 0.5
COCO_IOUS: tuple[float, ...] = tuple(float(iou) for iou in np.linspace(0.5, 0.95, 10))
"""The overlaps that mAP50-95 is the mean over."""


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class over all images, most confident first.

    Attributes:
        confidences: (N,), falling; equal ones in the order of their images.
        correct: (N,), whether a truth was matched.
        images: (N,), index of the image.
        truths: (images,), how many boxes of the class each image holds.
    """

    confidences: Floats
    correct: Bools
    images: Integers
    truths: Integers

    @property
    def truth_boxes(self) -> int:
        return int(self.truths.sum())


@dataclass(frozen=True)
class Matches:
    """The matching of some images at one overlap.

    Attributes:
        images: how many there are.
        per_class: by class id, rising.
    """

    iou: float
    images: int
    per_class: dict[int, ClassMatches]

    def labelled(self) -> list[int]:
        """The classes of which there is any truth: those that have an average precision."""
        return [c for c, found in self.per_class.items() if found.truth_boxes]


@dataclass(frozen=True)
class _Boxes:
    """All boxes of one side: images (N,), classes (N,), xywh (N, 4), confidences (N,)."""

    images: Integers
    classes: Integers
    xywh: Floats
    confidences: Floats


def match(
    images: Sequence[ScoredImage], iou: float = IOU_50, class_ids: Iterable[int] | None = None
) -> Matches:
    """Match the predictions of `images` with their truth at an overlap of `iou` or more.

    Args:
        class_ids: the classes to tell of; None: every class that occurs on either side.
    """
    return match_at(images, (iou,), class_ids)[0]


def match_at(
    images: Sequence[ScoredImage],
    ious: Sequence[float],
    class_ids: Iterable[int] | None = None,
) -> list[Matches]:
    """As `match`, at each of `ious`, at little more than the cost of one."""
    truth = _gather([image.truth for image in images])
    seen = _by_confidence(_gather([image.predictions for image in images]))
    occurring = {*truth.classes.tolist(), *seen.classes.tolist()}
    wanted = sorted(occurring if class_ids is None else set(class_ids))
    correct = _correct(truth, seen, ious)
    places = {c: np.flatnonzero(seen.classes == c) for c in wanted}
    truths = {
        c: np.bincount(truth.images[truth.classes == c], minlength=len(images)).astype(np.int64)
        for c in wanted
    }
    return [
        Matches(
            iou=iou,
            images=len(images),
            per_class={
                c: ClassMatches(
                    seen.confidences[places[c]],
                    correct[index, places[c]],
                    seen.images[places[c]],
                    truths[c],
                )
                for c in wanted
            },
        )
        for index, iou in enumerate(ious)
    ]


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union (N, M) of boxes (N, 4) and (M, 4), both x, y, width, height.

    Computed term by term as pycocotools computes it, so that a box on the edge of a
    threshold falls on the same side.
    """
    one, other = boxes[:, None, :], others[None, :, :]
    ends = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    sides = ends - np.maximum(one[..., :2], other[..., :2])
    shared = np.where((sides > 0).all(axis=2), sides[..., 0] * sides[..., 1], 0.0)
    union = (one[..., 2] * one[..., 3]) + (other[..., 2] * other[..., 3]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _gather(boxes_of_images: Sequence[tuple[ScoredBox, ...]]) -> _Boxes:
    counts = [len(boxes) for boxes in boxes_of_images]
    flat = [b for boxes in boxes_of_images for b in boxes]
    corners = np.array([b.box for b in flat], dtype=np.float64).reshape(-1, 4)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0.0)
    return _Boxes(
        images=np.repeat(np.arange(len(counts)), counts).astype(np.int64),
        classes=np.array([b.class_id for b in flat], dtype=np.int64),
        xywh=np.hstack([corners[:, :2], sides]),
        confidences=np.array([b.confidence for b in flat], dtype=np.float64),
    )


def _by_confidence(boxes: _Boxes) -> _Boxes:
    """Most confident first, and of each class in an image no more than COCO would count."""
    # Sorted by image and class, and in them by confidence: what comes too late in its run goes.
    order = np.lexsort((-boxes.confidences, boxes.classes, boxes.images))
    pair = np.stack([boxes.images[order], boxes.classes[order]])
    first = np.ones(len(order), dtype=bool)
    first[1:] = (pair[:, 1:] != pair[:, :-1]).any(axis=0)
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(first, place, 0))
    kept = order[rank < DETECTIONS_PER_IMAGE_MAX]
    kept = kept[np.lexsort((boxes.images[kept], -boxes.confidences[kept]))]
    return _Boxes(
        boxes.images[kept], boxes.classes[kept], boxes.xywh[kept], boxes.confidences[kept]
    )


def _correct(truth: _Boxes, seen: _Boxes, ious: Sequence[float]) -> Bools:
    """Whether each of `seen` is matched, (ious, N)."""
    correct = np.zeros((len(ious), len(seen.images)), dtype=bool)
    if not len(truth.images) or not len(ious):
        return correct
    loosest = min(ious)
    by_image = np.argsort(seen.images, kind="stable")
    starts = np.searchsorted(seen.images[by_image], np.arange(truth.images[-1] + 2))
    truth_starts = np.searchsorted(truth.images, np.arange(truth.images[-1] + 2))
    for image in np.unique(truth.images):
        rows = by_image[starts[image] : starts[image + 1]]
        columns = np.arange(truth_starts[image], truth_starts[image + 1])
        same = seen.classes[rows][:, None] == truth.classes[columns][None, :]
        shared = np.where(same, overlaps(seen.xywh[rows], truth.xywh[columns]), 0.0)
        near = np.nonzero(shared >= loosest)
        pairs = list(zip(near[0].tolist(), near[1].tolist(), shared[near].tolist(), strict=True))
        for index, iou in enumerate(ious):
            correct[index, rows[_greedy(pairs, iou)]] = True
    return correct


def _greedy(pairs: Sequence[tuple[int, int, float]], iou: float) -> list[int]:
    """The matched detections of (detection, truth, overlap), detections in their order."""
    matched: list[int] = []
    taken: set[int] = set()
    current, best, best_overlap = -1, -1, 0.0
    for detection, truth, overlap in [*pairs, (-1, -1, -1.0)]:
        if detection != current:
            if best >= 0:
                matched.append(current)
                taken.add(best)
            current, best, best_overlap = detection, -1, iou
        if overlap >= best_overlap and truth not in taken:
            best, best_overlap = truth, overlap
    return matched
