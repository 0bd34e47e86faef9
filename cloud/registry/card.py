"""The model card of a version: what it sees, how well, and where not to trust it. Pure.

Markdown after Mitchell et al., "Model Cards for Model Reporting" (2019), from the records
alone: what was not recorded is said to be so, and nothing is made up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from cloud.plain_text import shown
from cloud.registry import verdicts

FEW_BOXES = 50
"""A class with fewer boxes in the evaluation is reported, and not judged by itself."""

WEAK_BY = 0.1
"""A slice is weak where its mAP50 is this far below that of the whole set."""

LICENCE = "AGPL-3.0, through Ultralytics, whose code and weights it was trained with"
UNKNOWN = "not recorded"
USED_UNTRAINED = ("epochs", "imgsz")
"""Parameters that mean something where nothing was trained."""


@dataclass(frozen=True)
class BuildFacts:
    """One build: its name, where it stands, and its records as the registry has them."""

    digest: str
    target: str
    state: str
    size_bytes: int
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes:
        splits: images of each split of the dataset version; None where it is not on this hub.
        left_out: how many near-duplicates were left out of it.
        revoked: the version is below the model's floor.
        policy: of the model; `licence` there replaces the default one, and gives way to the one
            that an imported file came with (`lineage["imported"]["licence"]`).
    """

    model: str
    number: int
    class_names: Sequence[str]
    created_at: float
    created_by: str
    source: str
    parent: int | None
    dataset: str
    dataset_version: int
    dataset_digest: str
    weights_sha256: str
    lineage: Mapping[str, Any]
    metrics: Mapping[str, Any]
    builds: Sequence[BuildFacts]
    splits: Mapping[str, int] | None = None
    left_out: int | None = None
    aliases: Sequence[str] = ()
    notes: Sequence[tuple[str, str]] = ()
    revoked: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)


def write(facts: CardFacts) -> str:
    """The card, as Markdown."""
    sections = (
        _head,
        _data,
        _training,
        _figures,
        _builds,
        _calibration,
        _robustness,
        _limits,
        _licence,
        _provenance,
        _notes,
    )
    return "\n\n".join("\n".join(lines) for s in sections if (lines := list(s(facts)))) + "\n"


def _head(facts: CardFacts) -> Iterable[str]:
    yield f"# {_text(facts.model)} v{facts.number}"
    yield ""
    names = ", ".join(_text(name) for name in facts.class_names)
    yield f"A YOLO26 object detector that tells {len(facts.class_names)} classes apart: {names}."
    if facts.aliases:
        yield f"It is {', '.join(f'`{alias}`' for alias in facts.aliases)}."
    if facts.revoked:
        yield "**It is revoked: below the model's floor. It is not to be used.**"


def _data(facts: CardFacts) -> Iterable[str]:
    yield "## Data"
    yield ""
    yield f"Dataset `{_text(facts.dataset)}` version {facts.dataset_version}."
    if facts.splits is None:
        yield f"The dataset is not on this hub: counts are {UNKNOWN}."
        return
    yield ""
    yield from _table(("split", "images"), sorted(facts.splits.items()))
    if facts.left_out is not None:
        yield ""
        yield f"{facts.left_out} images were left out: near-duplicates across a boundary of splits."


def _training(facts: CardFacts) -> Iterable[str]:
    yield "## Training"
    yield ""
    found = facts.lineage.get("parameters") or facts.lineage.get("hyperparameters")
    recipe = found if isinstance(found, Mapping) else {}
    started = _started_from(facts)
    if facts.source != "training":
        yield "The weights were brought from outside; how they were trained is not recorded."
    elif recipe.get("epochs") == 0:
        yield f"Nothing was trained here: the weights are taken as they are from {started}."
        recipe = {key: recipe[key] for key in USED_UNTRAINED if key in recipe}
    else:
        yield f"Trained from {started}."
        if not recipe:
            yield f"The recipe is {UNKNOWN}."
    if recipe:
        yield ""
        yield from _table(("parameter", "value"), sorted(recipe.items()))


def _started_from(facts: CardFacts) -> str:
    """What the weights were before, in words."""
    weights = facts.lineage.get("weights")
    if facts.parent is not None:
        return f"the weights of v{facts.parent}"
    if weights == "scratch":
        return "nothing"
    if isinstance(weights, str) and weights:
        return f"the checkpoint `{_text(weights.removeprefix('file:'))}`"
    return f"weights that are {UNKNOWN}"


def _figures(facts: CardFacts) -> Iterable[str]:
    yield "## Figures"
    yield ""
    metrics = facts.metrics
    if metrics.get("map50") is None:
        yield "It was not evaluated."
        return
    yield (
        f"As shipped, on {_cell(metrics.get('images'))} golden images with "
        f"{_cell(metrics.get('truth_boxes'))} boxes: mAP50 {_cell(metrics['map50'])}, "
        f"mAP50-95 {_cell(metrics.get('map50_95'))}."
    )
    columns = ("map50", "map50_95", "precision", "recall", "f1", "threshold", "truth_boxes")
    rows = [
        (name, *(figures.get(column) for column in columns))
        for name, figures in _parts(metrics.get("per_class"))
    ]
    if rows:
        yield ""
        yield from _table(("class", *(c.replace("_", " ") for c in columns)), rows)


def _builds(facts: CardFacts) -> Iterable[str]:
    yield "## Builds"
    yield ""
    yield "Each was evaluated as the very file that ships."
    yield ""
    yield from _table(
        ("build", "state", "mAP50", "mAP50-95", "latency ms", "bytes", "verdict"),
        [
            (
                f"{build.target} `{build.digest[:12]}`",
                build.state,
                build.metrics.get("map50"),
                build.metrics.get("map50_95"),
                build.metrics.get("latency_ms_median"),
                build.size_bytes,
                verdicts.in_words(build.verdict, build.state),
            )
            for build in facts.builds
        ],
    )


def _calibration(facts: CardFacts) -> Iterable[str]:
    yield "## Calibration"
    yield ""
    raw, calibrated = facts.metrics.get("ece_raw"), facts.metrics.get("ece_calibrated")
    if raw is None:
        yield "How often a confidence is right was not measured."
    elif calibrated is None:
        yield f"Expected calibration error {_cell(raw)}; the bundle carries no calibrator."
    else:
        yield f"Expected calibration error {_cell(raw)} raw, {_cell(calibrated)} calibrated."


def _robustness(facts: CardFacts) -> Iterable[str]:
    suite = facts.metrics.get("robustness")
    if not isinstance(suite, Mapping) or not suite:
        return
    yield "## Robustness"
    yield ""
    yield from _table(("measure", "value"), sorted(_flat(suite)))


def _limits(facts: CardFacts) -> Iterable[str]:
    yield "## Limits"
    yield ""
    limits = [*_unseen(facts), *_weaknesses(facts.metrics), *_blanks(facts)]
    yield from (f"- {limit}" for limit in limits or ["None that the records show."])


def _unseen(facts: CardFacts) -> Iterable[str]:
    """The classes that the evaluation had nothing of."""
    counted = _boxes(facts.metrics)
    boxed = {name for name, boxes in counted if boxes > 0}
    unseen = [_text(name) for name in facts.class_names if name not in boxed]
    # Without any count it was not evaluated, or by a hub that did not count: nothing is known.
    if counted and unseen:
        yield f"No box in the evaluation, so nothing is known of: {', '.join(unseen)}."


def _boxes(metrics: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Name and number of labelled boxes of each class that was counted."""
    counted = ((name, part.get("truth_boxes")) for name, part in _parts(metrics.get("per_class")))
    return [(name, boxes) for name, boxes in counted if isinstance(boxes, int | float)]


def _weaknesses(metrics: Mapping[str, Any]) -> Iterable[str]:
    few = [
        f"{_text(name)} ({_cell(boxes)})"
        for name, boxes in _boxes(metrics)
        if 0 < boxes < FEW_BOXES
    ]
    if few:
        yield f"Under {FEW_BOXES} boxes in the evaluation, so figures say little: {', '.join(few)}."
    whole = metrics.get("map50")
    slices = metrics.get("per_slice")
    if not isinstance(whole, int | float) or not isinstance(slices, Mapping):
        return
    for kind, values in sorted(slices.items()):
        for value, figures in _parts(values):
            found = figures.get("map50")
            if isinstance(found, int | float) and found < whole - WEAK_BY:
                yield (
                    f"Weak where {_text(kind)} is {_text(value)}: mAP50 {_cell(found)} "
                    f"against {_cell(whole)} overall."
                )


def _blanks(facts: CardFacts) -> Iterable[str]:
    for key, what in (
        ("per_slice", "slices (site, line, camera, lighting)"),
        ("robustness", "robustness"),
        ("ece_raw", "calibration"),
        ("duplicate_rate", "the rate of duplicates"),
    ):
        if facts.metrics.get(key) in (None, {}):
            yield f"Not evaluated: {what}."
    unevaluated = [b.target for b in facts.builds if b.metrics.get("map50") is None]
    if unevaluated:
        yield f"Builds without an evaluation: {', '.join(unevaluated)}."
    if any(b.metrics.get("latency_ms_median") is not None for b in facts.builds):
        yield "Latencies are of the machine that evaluated, not of a device."


def _licence(facts: CardFacts) -> Iterable[str]:
    yield "## Licence"
    yield ""
    imported = facts.lineage.get("imported")
    came_with = imported.get("licence") if isinstance(imported, Mapping) else None
    stated = [s for s in (came_with, facts.policy.get("licence")) if isinstance(s, str) and s]
    yield f"{_text(stated[0]) if stated else LICENCE}."


def _provenance(facts: CardFacts) -> Iterable[str]:
    yield "## Provenance"
    yield ""
    lineage = facts.lineage
    rows: list[tuple[str, Any]] = [
        ("made", f"{_utc(facts.created_at)} by {facts.created_by} ({facts.source})"),
        ("parent", "none" if facts.parent is None else f"v{facts.parent}"),
        ("dataset digest", facts.dataset_digest),
        ("weights sha256", facts.weights_sha256),
    ]
    named = ("parameters", "hyperparameters", "parent")
    rows += [
        (key.replace("_", " "), _utc(v) if key.endswith("_at") else v)
        for key, v in sorted(lineage.items())
        if key not in named
    ]
    rows += [(key, UNKNOWN) for key in ("seed",) if key not in lineage]
    rows += [(f"build {build.target}", build.digest) for build in facts.builds]
    yield from _table(("what", "value"), rows)


def _notes(facts: CardFacts) -> Iterable[str]:
    if not facts.notes:
        return
    yield "## Notes"
    yield ""
    yield from (f"- {_text(text)} ({_text(by)})" for by, text in facts.notes)


def _utc(seconds: Any) -> Any:
    """A time since the epoch, in words; anything else as it is."""
    try:
        moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        return seconds
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _parts(value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and figures of each part of a metric, in the order of names."""
    if not isinstance(value, Mapping):
        return []
    return sorted((str(k), v) for k, v in value.items() if isinstance(v, Mapping))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", inner


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    yield from (f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)


def _cell(value: Any) -> str:
    if value is None or value in ({}, [], ""):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(k)} {_cell(v)}" for k, v in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(_cell(part) for part in value)
    return _text(value)


def _text(value: Any) -> str:
    """Text that stays in its line and its cell, and starts no markup of its own."""
    text = " ".join(shown(str(value)).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
