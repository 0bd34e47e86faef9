"""COCO mean average precision (pycocotools) of simple per-image boxes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

DETECTIONS_PER_IMAGE_MAX = 300
_IOU_50 = 0


@dataclass(frozen=True)
class ScoredBox:
    """A labelled or predicted box: (x1, y1, x2, y2) in pixels; labels have no confidence."""

    class_id: int
    box: tuple[float, float, float, float]
    confidence: float = 1.0


@dataclass(frozen=True)
class ScoredImage:
    """What there is in one image, and what was seen in it."""

    truth: tuple[ScoredBox, ...]
    predictions: tuple[ScoredBox, ...]


@dataclass(frozen=True)
class ClassScore:
    """Average precision of one class; None where the images hold no object of it."""

    map50: float | None
    map50_95: float | None
    truth_boxes: int


@dataclass(frozen=True)
class Score:
    """Scores over some images.

    Attributes:
        map50, map50_95: mean over the classes that occur, None where none does.
        mean_confidence: of the predictions that were counted for it, None without any.
    """

    map50: float | None
    map50_95: float | None
    images: int
    truth_boxes: int
    mean_confidence: float | None
    per_class: dict[int, ClassScore] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON shape, class ids as text as JSON wants them."""
        return {
            "map50": self.map50,
            "map50_95": self.map50_95,
            "images": self.images,
            "truth_boxes": self.truth_boxes,
            "mean_confidence": self.mean_confidence,
            "per_class": {
                str(class_id): {
                    "map50": s.map50,
                    "map50_95": s.map50_95,
                    "truth_boxes": s.truth_boxes,
                }
                for class_id, s in self.per_class.items()
            },
        }


def score(images: Sequence[ScoredImage], mean_confidence_from: float = 0.0) -> Score:
    """Score predictions against truth.

    Args:
        mean_confidence_from: predictions below it count for precision and recall, and are
            left out of `mean_confidence`.
    """
    counts = _truth_counts(images)
    confidences = [
        p.confidence for i in images for p in i.predictions if p.confidence >= mean_confidence_from
    ]
    per_class = _average_precision(images, counts) if counts else {}
    return Score(
        map50=_mean(s.map50 for s in per_class.values()),
        map50_95=_mean(s.map50_95 for s in per_class.values()),
        images=len(images),
        truth_boxes=sum(counts.values()),
        mean_confidence=_mean(confidences),
        per_class=per_class,
    )


def _truth_counts(images: Iterable[ScoredImage]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for image in images:
        for box in image.truth:
            counts[box.class_id] = counts.get(box.class_id, 0) + 1
    return dict(sorted(counts.items()))


def _average_precision(
    images: Sequence[ScoredImage], counts: dict[int, int]
) -> dict[int, ClassScore]:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = _evaluate(images, sorted(counts))
    # precision: IoU threshold x recall x class x area x detections per image
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    scores = {}
    for column, class_id in enumerate(evaluation.params.catIds):
        by_iou = precision[:, :, column]
        scores[int(class_id)] = ClassScore(
            map50=float(by_iou[_IOU_50].mean()),
            map50_95=float(by_iou.mean()),
            truth_boxes=counts[int(class_id)],
        )
    return scores


def _evaluate(images: Sequence[ScoredImage], class_ids: list[int]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, predictions = COCO(), COCO()
    for coco, boxes in (
        (truth, [i.truth for i in images]),
        (predictions, [i.predictions for i in images]),
    ):
        coco.dataset = {
            "images": [{"id": index} for index in range(len(images))],
            "categories": [{"id": class_id} for class_id in class_ids],
            "annotations": _annotations(boxes, set(class_ids)),
        }
        coco.createIndex()
    evaluation = COCOeval(truth, predictions, "bbox")
    evaluation.params.maxDets = [DETECTIONS_PER_IMAGE_MAX]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _annotations(
    boxes_of_images: Iterable[tuple[ScoredBox, ...]], class_ids: set[int]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image_id, boxes in enumerate(boxes_of_images):
        for box in boxes:
            # A class without any truth has no average precision, so it is left out.
            if box.class_id not in class_ids:
                continue
            x1, y1, x2, y2 = box.box
            width, height = max(0.0, x2 - x1), max(0.0, y2 - y1)
            rows.append(
                {
                    "id": len(rows) + 1,  # pycocotools takes id 0 for "unmatched"
                    "image_id": image_id,
                    "category_id": box.class_id,
                    "bbox": [x1, y1, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": box.confidence,
                }
            )
    return rows


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
