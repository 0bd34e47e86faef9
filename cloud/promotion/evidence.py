"""The evidence record: all that a verdict rests on, as one canonical JSON document.

The page is drawn from it, and whoever doubts a verdict can compute it again: it names both
builds, the images, the policy and the seed. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rfc8785

from cloud.evaluation.average_precision import RECALLS
from cloud.evaluation.matching import Matches
from cloud.promotion.bootstrap import CALIBRATION_BINS
from cloud.promotion.comparing import ChangedImage, Comparison
from cloud.promotion.gate import GateResult
from cloud.promotion.pair import CriticalObject, PairedEvidence, Side
from cloud.promotion.policy import GatePolicy

SCHEMA_VERSION = 1
CRITICAL_TOLD_MAX = 200
_DECIMALS = 6


@dataclass(frozen=True)
class Subject:
    """Who was compared, where, when and for whom.

    Attributes:
        candidate, incumbent: version numbers.
        target: label of the builds.
        dataset: name and number of the version whose golden images judged.
        left_out: golden images that did not judge, being nearly what a model learned from.
    """

    id: str
    model: str
    alias: str
    candidate: int
    incumbent: int | None
    candidate_build: str
    incumbent_build: str | None
    target: str
    dataset: str
    dataset_digest: str
    at: float
    by: str
    job: str | None = None
    left_out: tuple[dict[str, Any], ...] = ()


def record(
    subject: Subject,
    policy: GatePolicy,
    pair: PairedEvidence,
    comparison: Comparison,
    result: GateResult,
) -> dict[str, Any]:
    """The record as JSON values; no figure in it is infinite or no number."""
    golden = pair.golden
    sides: dict[str, Side] = {"candidate": golden.candidate}
    if golden.incumbent is not None:
        sides["incumbent"] = golden.incumbent
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **asdict(subject),
        "verdict": result.verdict.value,
        "reason": result.reason,
        "images": result.images,
        "recent_images": result.recent_images,
        "more_images": result.more_images,
        "policy": policy.model_dump(mode="json", exclude={"licence"}),
        "class_names": list(pair.class_names),
        "classes_known": sorted(pair.class_names[c] for c in pair.known),
        "components": [_plain(asdict(c)) for c in result.components],
        "golden_images": list(golden.images),
        "curves": {name: mean_curve(side.matches) for name, side in sides.items()},
        "reliability": {name: reliability(side) for name, side in sides.items()},
        "robustness": {
            "candidate": dict(pair.candidate_robustness or {}),
            "incumbent": dict(pair.incumbent_robustness or {}),
        },
        "latency": {
            "candidate": pair.candidate_latency and asdict(pair.candidate_latency),
            "incumbent": pair.incumbent_latency and asdict(pair.incumbent_latency),
        },
        "critical": {
            "newly_missed": [_object(o, pair) for o in pair.newly_missed[:CRITICAL_TOLD_MAX]],
            "newly_found": [_object(o, pair) for o in pair.newly_found[:CRITICAL_TOLD_MAX]],
        },
        "became_better": [_changed(c) for c in comparison.better()],
        "became_worse": [_changed(c) for c in comparison.worse()],
    }
    return dict(_plain(values))


def canonical(values: Mapping[str, Any]) -> bytes:
    """The bytes that are kept (RFC 8785)."""
    return rfc8785.dumps(dict(values))


def mean_curve(matches: Matches) -> dict[str, list[float]]:
    """Precision at COCO's 101 recalls, and served confidence there, mean over the classes."""
    precisions = []
    for class_id in matches.labelled():
        found = matches.per_class[class_id]
        right = np.cumsum(found.correct)
        precision = right / np.arange(1, len(right) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(right / found.truth_boxes, RECALLS)
        precisions.append(np.append(precision, 0.0)[place])
    mean = np.mean(precisions, axis=0) if precisions else np.zeros(len(RECALLS))
    return {"recall": [float(r) for r in RECALLS], "precision": [float(p) for p in mean]}


def reliability(side: Side) -> list[dict[str, float]]:
    """In equal bins of calibrated confidence: their mean, the share that is right, the count."""
    if not side.matches.per_class:
        return []
    ids = list(side.matches.per_class)
    worth = np.concatenate([np.asarray(side.calibrated[c]) for c in ids])
    correct = np.concatenate([side.matches.per_class[c].correct for c in ids])
    bins = np.clip((worth * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    return [
        {
            "confidence": float(worth[bins == place].mean()),
            "correct": float(correct[bins == place].mean()),
            "count": int((bins == place).sum()),
        }
        for place in range(CALIBRATION_BINS)
        if (bins == place).any()
    ]


def _object(found: CriticalObject, pair: PairedEvidence) -> dict[str, Any]:
    return {
        "image": found.image,
        "class": pair.class_names[found.class_id],
        "box": list(found.box),
    }


def _changed(changed: ChangedImage) -> dict[str, Any]:
    return {"image": changed.image, "gain": changed.gain}


def _plain(value: Any) -> Any:
    """JSON values: enums by their value, floats rounded, what is no number as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return round(float(value), _DECIMALS) if math.isfinite(value) else None
    return getattr(value, "value", value)
