"""The figures of one evaluation, from labelled results to JSON values; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cloud.evaluation import average_precision, calibration, slices
from cloud.evaluation.coco import ClassScore, ScoredBox, ScoredImage, score
from cloud.evaluation.curves import curves, is_served, operating_point
from cloud.evaluation.matching import COCO_IOUS, Floats, Matches, match_at, overlaps
from cloud.shipped import CONFIDENCE_FLOOR
from protocol.bundles import Calibration, Thresholds

CURVE_THRESHOLDS: Floats = np.round(np.linspace(0.0, 1.0, 41), 3)
DUPLICATE_IOU = 0.9


def evaluation_report(
    images: Sequence[ScoredImage],
    class_names: Sequence[str],
    thresholds: Thresholds,
    calibrated_by: Calibration | None,
    *,
    tags: Sequence[Mapping[str, str]],
    luminances: Sequence[float | None],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """The metrics of a build over `images`, ready for JSON: finite numbers or None.

    mAP of the whole and of each class is pycocotools'. Slices are scored by the same
    definition from one matching. What is said of serving (precision, recall, F1,
    mean_confidence, served_boxes, duplicate_rate) holds at `thresholds`.
    `ece_detections` are those that the calibration errors were taken over.

    Args:
        tags: of each image, such as {"site", "line", "camera"}; what is empty is left out.
        luminances: of each image, mean grey level 0..255; None where it was not measured.
        summary: of the agent's run (its latency and fps), and "size_bytes" where it is known.

    Raises:
        ValueError: a class id is beyond `class_names`, or tags, luminances and images differ in
            number.
    """
    _check_classes(images, len(class_names))
    if len(tags) != len(images):
        raise ValueError(f"{len(tags)} tags of {len(images)} images")
    at = match_at(images, COCO_IOUS, range(len(class_names)))
    whole = score(images)
    counted = calibration.samples(at[0])
    serving = _Serving(at[0], thresholds)
    parts = _slices(slices.members(tags, luminances), at, serving, class_names)
    report = {
        "map50": whole.map50,
        "map50_95": whole.map50_95,
        "images": whole.images,
        "truth_boxes": whole.truth_boxes,
        **serving.figures(np.ones(len(images))),
        "per_class": _per_class(whole.per_class, at[0], class_names, thresholds),
        "per_slice": parts,
        "per_camera": parts.get("camera", {}),
        "ece_raw": calibration.expected_calibration_error(counted.confidences, counted.correct),
        "ece_calibrated": _ece_after(calibrated_by, counted),
        "ece_detections": len(counted.confidences),
        "served_boxes": len(serving.confidences),
        "duplicate_rate": duplicate_rate(images, thresholds),
        **_speed(summary),
        "size_bytes": summary.get("size_bytes"),
        "confidence_floor": CONFIDENCE_FLOOR,
        "curves": _curves(at[0], class_names),
    }
    return {key: _finite(value) for key, value in report.items()}


def duplicate_rate(
    images: Sequence[ScoredImage], thresholds: Thresholds, iou: float = DUPLICATE_IOU
) -> float | None:
    """Share of the served detections that repeat another; None where nothing is served.

    A served detection (its confidence reaches its class's threshold) is a duplicate where a
    served detection of the same image, of the same class or another, more confident or equally
    so and earlier in the list, overlaps it by an IoU above 0.9.
    """
    served = duplicates = 0
    for image in images:
        chosen = _served(image.predictions, thresholds)
        served += len(chosen)
        if len(chosen) < 2:
            continue
        edges = np.array([p.box for p in sorted(chosen, key=lambda p: -p.confidence)])
        xywh = np.hstack([edges[:, :2], np.maximum(edges[:, 2:] - edges[:, :2], 0.0)])
        # Row by column: the pairs below the diagonal have the more confident one as column.
        repeated = np.tril(overlaps(xywh, xywh) > iou, k=-1)
        duplicates += int(repeated.any(axis=1).sum())
    return duplicates / served if served else None


def _ece_after(calibrated_by: Calibration | None, counted: calibration.Samples) -> float | None:
    """None without a calibrator: there is nothing after it."""
    if calibrated_by is None:
        return None
    after = calibration.apply(calibrated_by, counted.confidences)
    return calibration.expected_calibration_error(after, counted.correct)


def definitions_compared(
    metrics: Mapping[str, Any], ultralytics: Mapping[str, Any]
) -> dict[str, Any]:
    """Ultralytics' figures of the same predictions, and each less COCO's.

    Both look at 101 recalls. COCO averages the precision of the first detection that reaches
    each; Ultralytics draws lines between the detections and integrates by trapezes, which
    gives a flawless class 0.995 where COCO gives 1.
    """
    both = [(k, metrics.get(k), ultralytics.get(k)) for k in ("map50", "map50_95")]
    return {
        **{key: theirs for key, _ours, theirs in both},
        **{
            f"{key}_difference": None if ours is None or theirs is None else theirs - ours
            for key, ours, theirs in both
        },
    }


class _Serving:
    """What is served of a matching, each detection with its image, so that slices can weigh it."""

    def __init__(self, matches: Matches, thresholds: Thresholds) -> None:
        found = [
            (m, is_served(m.confidences, thresholds.of(c))) for c, m in matches.per_class.items()
        ]
        empty = np.zeros(0)
        self.images = np.concatenate([empty, *(m.images[s] for m, s in found)]).astype(np.int64)
        self.correct = np.concatenate([empty, *(m.correct[s] for m, s in found)])
        self.confidences = np.concatenate([empty, *(m.confidences[s] for m, s in found)])
        self.truths = np.zeros(matches.images)
        for one, _served_of_it in found:
            self.truths = self.truths + one.truths

    def figures(self, weights: Floats) -> dict[str, float | None]:
        """Over all classes together, of images with weights (images,)."""
        weight = weights[self.images]
        served, right = float(weight.sum()), float((weight * self.correct).sum())
        truths = float((weights * self.truths).sum())
        return {
            "mean_confidence": _ratio(float((weight * self.confidences).sum()), served),
            "precision": _ratio(right, served),
            "recall": _ratio(right, truths),
            "f1": _ratio(2 * right, served + truths),
        }


def _slices(
    members: slices.Members, at: Sequence[Matches], serving: _Serving, class_names: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    keys = [(kind, value) for kind, values in members.items() for value in values]
    if not keys:
        return {}
    weights = slices.weights([members[kind][value] for kind, value in keys], at[0].images)
    by_iou = [average_precision.per_class(m, weights, range(len(class_names))) for m in at]
    ap50, ap50_95 = by_iou[0], np.mean(by_iou, axis=0)
    truths = np.stack([weights @ at[0].per_class[c].truths for c in range(len(class_names))], 1)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row, (kind, value) in enumerate(keys):
        found.setdefault(kind, {})[value] = {
            "map50": float(average_precision.mean(ap50[row])),
            "map50_95": float(average_precision.mean(ap50_95[row])),
            "images": len(members[kind][value]),
            "truth_boxes": int(truths[row].sum()),
            **serving.figures(weights[row]),
            "per_class": {
                name: {
                    "map50": float(ap50[row, c]),
                    "map50_95": float(ap50_95[row, c]),
                    "truth_boxes": int(truths[row, c]),
                }
                for c, name in enumerate(class_names)
                if truths[row, c]
            },
        }
    return found


def _per_class(
    scores: Mapping[int, ClassScore],
    matches: Matches,
    class_names: Sequence[str],
    thresholds: Thresholds,
) -> dict[str, dict[str, Any]]:
    """The classes of which there is truth, by name."""
    found = {}
    for class_id, one in scores.items():
        point = operating_point(matches.per_class[class_id], thresholds.of(class_id))
        found[class_names[class_id]] = {
            "map50": one.map50,
            "map50_95": one.map50_95,
            "truth_boxes": one.truth_boxes,
            "threshold": point.threshold,
            "precision": point.precision,
            "recall": point.recall,
            "f1": point.f1,
        }
    return found


def _curves(matches: Matches, class_names: Sequence[str]) -> dict[str, Any]:
    drawn = {}
    for class_id in matches.labelled():
        found = curves(matches.per_class[class_id], CURVE_THRESHOLDS)
        drawn[class_names[class_id]] = {
            name: [round(float(v), 4) for v in values]
            for name, values in (
                ("precision", found.precision),
                ("recall", found.recall),
                ("f1", found.f1),
            )
        }
    return {"confidence": CURVE_THRESHOLDS.tolist(), "per_class": drawn}


def _speed(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Latency of frames timed one at a time, None where none was."""
    alone = summary.get("latency_ms") or {}
    return {
        "latency_ms_median": alone.get("median"),
        "latency_ms_p95": alone.get("p95"),
        "fps": summary.get("fps"),
    }


def _served(boxes: Sequence[ScoredBox], thresholds: Thresholds) -> list[ScoredBox]:
    confidences = np.array([b.confidence for b in boxes])
    limits = np.array([thresholds.of(b.class_id) for b in boxes])
    reached = is_served(confidences, limits)
    return [b for b, served in zip(boxes, reached, strict=True) if served]


def _check_classes(images: Sequence[ScoredImage], classes: int) -> None:
    highest = max((b.class_id for i in images for b in (*i.truth, *i.predictions)), default=-1)
    if highest >= classes:
        raise ValueError(f"class {highest} is beyond the {classes} that have a name")


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _finite(value: Any) -> Any:
    """The same with None for what is no number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
