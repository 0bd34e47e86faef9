"""Two builds' answers to the same labelled images, made comparable. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cloud.datasets.service import Item
from cloud.evaluation.coco import ScoredBox, ScoredImage
from cloud.evaluation.matching import IOU_50, Bools, Floats, match, overlaps
from cloud.evaluation.predictions import SeenImage
from cloud.promotion.pair import CriticalObject, PairedSet, Side
from protocol.bundles import Calibration, Thresholds

CHANGED_MAX = 12


@dataclass(frozen=True)
class Answers:
    """What one build saw in some images, and how it serves and weighs it.

    Attributes:
        class_names: the build's own, in the order of its class ids.
        seen: by digest of the image.
    """

    class_names: tuple[str, ...]
    thresholds: Thresholds
    calibration: Calibration | None
    seen: Mapping[str, SeenImage]


@dataclass(frozen=True)
class ChangedImage:
    """An image that the two builds serve differently, with what there is to draw.

    Attributes:
        gain: objects more that are found, less wrong boxes more; negative: it became worse.
    """

    image: str
    width: int
    height: int
    gain: int
    truth: tuple[ScoredBox, ...]
    candidate: tuple[ScoredBox, ...]
    incumbent: tuple[ScoredBox, ...]


@dataclass(frozen=True)
class Comparison:
    """A set of images under both models.

    Attributes:
        missed, found: critical objects that only the incumbent, only the candidate serves.
        changed: every image that is served differently enough to gain or lose, worst first.
    """

    paired: PairedSet
    missed: tuple[CriticalObject, ...] = ()
    found: tuple[CriticalObject, ...] = ()
    changed: tuple[ChangedImage, ...] = ()

    def worse(self) -> tuple[ChangedImage, ...]:
        return tuple(c for c in self.changed if c.gain < 0)[:CHANGED_MAX]

    def better(self) -> tuple[ChangedImage, ...]:
        return tuple(c for c in reversed(self.changed) if c.gain > 0)[:CHANGED_MAX]


def renamed(answers: Answers, class_names: Sequence[str]) -> Answers:
    """The answers in the class ids of `class_names`; what those do not name goes."""
    if list(answers.class_names) == list(class_names):
        return answers
    places = {name: place for place, name in enumerate(class_names)}
    new = {i: places[n] for i, n in enumerate(answers.class_names) if n in places}
    seen = {
        digest: replace(
            image,
            detections=tuple(
                replace(d, class_id=new[d.class_id]) for d in image.detections if d.class_id in new
            ),
        )
        for digest, image in answers.seen.items()
    }
    given = answers.thresholds
    per_class = {new[c]: t for c, t in given.per_class.items() if c in new}
    thresholds = given.model_copy(update={"per_class": per_class})
    return Answers(tuple(class_names), thresholds, answers.calibration, seen)


def compare(
    items: Sequence[Item],
    candidate: Answers,
    incumbent: Answers | None,
    critical: frozenset[int] = frozenset(),
) -> Comparison:
    """Both builds on those of `items` that both have seen; class ids are the candidate's."""
    names = candidate.class_names
    other = None if incumbent is None else renamed(incumbent, names)
    common = [
        i for i in items if i.image in candidate.seen and (other is None or i.image in other.seen)
    ]
    truths = [_truth(item, candidate.seen[item.image]) for item in common]
    images = tuple(item.image for item in common)
    ours = _side(images, truths, candidate)
    if other is None:
        return Comparison(PairedSet(images, ours, None))
    paired = PairedSet(images, ours, _side(images, truths, other))
    missed: list[CriticalObject] = []
    found: list[CriticalObject] = []
    changed: list[ChangedImage] = []
    for image, truth in zip(images, truths, strict=True):
        mine, theirs = served(candidate, image), served(other, image)
        has, had = covered(truth, mine), covered(truth, theirs)
        for place, box in enumerate(truth):
            if box.class_id in critical and has[place] != had[place]:
                lost = CriticalObject(image, box.class_id, box.box)
                (found if has[place] else missed).append(lost)
        gain = _worth(truth, mine, has) - _worth(truth, theirs, had)
        if gain:
            size = candidate.seen[image]
            changed.append(ChangedImage(image, size.width, size.height, gain, truth, mine, theirs))
    changed.sort(key=lambda c: (c.gain, c.image))
    return Comparison(paired, tuple(missed), tuple(found), tuple(changed))


def served(answers: Answers, image: str) -> tuple[ScoredBox, ...]:
    """What a device would serve of an image."""
    at = answers.thresholds
    return tuple(d for d in answers.seen[image].detections if d.confidence >= at.of(d.class_id))


def covered(truth: Sequence[ScoredBox], boxes: Sequence[ScoredBox]) -> Bools:
    """Which of `truth` has a box of its class on it, at an overlap of one half."""
    if not truth or not boxes:
        return np.zeros(len(truth), dtype=bool)
    near = overlaps(_sides(truth), _sides(boxes)) >= IOU_50
    same = np.array([[t.class_id == b.class_id for b in boxes] for t in truth])
    return np.asarray((near & same).any(axis=1))


def _worth(truth: Sequence[ScoredBox], boxes: Sequence[ScoredBox], has: Bools) -> int:
    """Objects found less boxes on nothing."""
    return int(has.sum()) - (len(boxes) - int(covered(boxes, truth).sum()))


def _truth(item: Item, seen: SeenImage) -> tuple[ScoredBox, ...]:
    return tuple(
        ScoredBox(box.class_id, box.to_pixels(seen.width, seen.height)) for box in item.boxes
    )


def _side(images: Sequence[str], truths: Sequence[tuple[ScoredBox, ...]], answers: Answers) -> Side:
    scored = [
        ScoredImage(truth, answers.seen[image].detections)
        for image, truth in zip(images, truths, strict=True)
    ]
    matches = match(scored, IOU_50, range(len(answers.class_names)))
    boxes = [[d.box for d in served(answers, image)] for image in images]
    worth = answers.calibration
    return Side(
        matches=matches,
        served=np.array([len(b) for b in boxes], dtype=np.float64),
        duplicates=np.array([len(b) - len(set(b)) for b in boxes], dtype=np.float64),
        calibrated={
            c: found.confidences
            if worth is None
            else np.interp(found.confidences, worth.raw, worth.calibrated)
            for c, found in matches.per_class.items()
        },
    )


def _sides(boxes: Sequence[ScoredBox]) -> Floats:
    """x, y, width, height of each, (N, 4)."""
    corners = np.array([b.box for b in boxes], dtype=np.float64)
    return np.hstack([corners[:, :2], np.maximum(corners[:, 2:] - corners[:, :2], 0.0)])
