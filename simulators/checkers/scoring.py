"""Mean average precision of what devices saw, computed by the hub's own `argosy score`.

The hub's program runs as a child process: one way of scoring for its evaluation and for
these checks, without importing it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from simulators.checkers.records import Labelled

Run = Callable[[str, Sequence[str]], str]
"""Runs a program of ours under a name, with its arguments, and returns what it printed."""


@dataclass(frozen=True)
class Case:
    """One image of one group: what is in it, what was seen in it.

    Attributes:
        predictions: what was served, which the mean confidence is of.
        unserved: what was seen below the serving thresholds; mAP is of both.
    """

    group: str
    image: str
    truth: tuple[Labelled, ...]
    predictions: tuple[Labelled, ...]
    unserved: tuple[Labelled, ...] = ()


@dataclass(frozen=True)
class Score:
    """Scores of one group of images; None where nothing could be measured."""

    map50: float | None
    map50_95: float | None
    images: int
    truth_boxes: int
    mean_confidence: float | None
    class_map50: dict[int, float | None]


def score(cases: Iterable[Case], folder: Path, run: Run) -> dict[str, Score]:
    """Score by group. Two files are left in `folder`, so that anyone can repeat it."""
    folder.mkdir(parents=True, exist_ok=True)
    truth, predictions = folder / "truth.jsonl", folder / "predictions.jsonl"
    served: dict[str, list[float]] = {}
    with truth.open("w") as truth_file, predictions.open("w") as predictions_file:
        for case in cases:
            served.setdefault(case.group, []).extend(b.confidence for b in case.predictions)
            truth_file.write(_line(case, case.truth, with_confidence=False))
            predictions_file.write(
                _line(case, (*case.predictions, *case.unserved), with_confidence=True)
            )
    arguments = ["score", "--truth", str(truth), "--predictions", str(predictions), "--json"]
    groups = json.loads(run("score", arguments))
    return {name: _read(found, served[name]) for name, found in groups.items()}


def _line(case: Case, boxes: Iterable[Labelled], *, with_confidence: bool) -> str:
    rows: list[dict[str, Any]] = []
    for box in boxes:
        row: dict[str, Any] = {"class_id": box.class_id, "box": list(box.box)}
        if with_confidence:
            row["confidence"] = box.confidence
        rows.append(row)
    return json.dumps({"group": case.group, "image": case.image, "detections": rows}) + "\n"


def _read(found: dict[str, Any], served: Sequence[float]) -> Score:
    return Score(
        map50=found["map50"],
        map50_95=found["map50_95"],
        images=found["images"],
        truth_boxes=found["truth_boxes"],
        mean_confidence=fmean(served) if served else None,
        class_map50={int(c): s["map50"] for c, s in found["per_class"].items()},
    )
