"""One build of a version: what fits it, the bundle, its evaluation, the verdict.

The order is: make the artifact (`making`, `choosing`); fit thresholds and calibration with it
on the calibration split; count the drift reference; see the golden frames; evaluate on the
golden split; judge (`judging`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloud.building.judging import parity_of, verdict_of
from cloud.building.making import environment, label
from cloud.building.targets import BuildTarget
from cloud.building.workshop import MadeBuild, Order, Source, Workshop, golden_items, spec_of
from cloud.evaluation import ultralytics_metrics
from cloud.evaluation.report import definitions_compared
from cloud.evaluation.running import Evaluated, labelled
from cloud.registry.bundles import Bundle, begin


def measure(source: Source, order: Order, shop: Workshop) -> MadeBuild:
    """Fit, assemble, evaluate and judge an artifact.

    Raises:
        ChildFailed, ChildCanceled: a run did not end well.
    """
    target, name = order.target, label(order.target)
    folder = shop.folder / name
    draft = begin(folder / "bundle", order.artifact.files, source.frames)
    spec = spec_of(source, target, order.artifact)
    shop.tell(f"{name}: fitting", 0, 0)
    fitted = shop.runs.fit(draft.write(spec), source.dataset, folder / "fit")
    spec = replace(spec, thresholds=fitted.thresholds, calibration=fitted.calibration)
    shop.tell(f"{name}: counting the reference", 0, 0)
    counted = shop.runs.drift_reference(draft.write(spec), source.dataset, folder / "reference")
    spec = replace(spec, drift=counted)
    bundle, frames_seen = draft.finish(spec, shop.runs.agent, folder / "frames")
    evaluated = shop.runs.golden(
        bundle,
        source.dataset,
        source.dataset_digest,
        folder / "golden",
        latency_frames=shop.settings.latency_frames,
        on_progress=lambda done, total: shop.tell(f"{name}: evaluating", done, total),
    )
    metrics = evaluated.metrics
    parity = parity_of(source, order, shop, [frame.detections for frame in frames_seen])
    metrics["parity"] = None if parity is None else parity.as_dict()
    if shop.settings.compare_definitions:
        metrics["ultralytics"] = _ultralytics(source, evaluated, shop, folder / "ultralytics")
    verdict = verdict_of(source, order, spec, shop, metrics=metrics, parity=parity)
    evaluations = [evaluated]
    if verdict.admitted and shop.perturbed is not None:
        robust = _robustness(bundle, source, target, shop, folder)
        metrics["robustness"] = robust.metrics["robustness"]
        evaluations.append(robust)
    notes = {**order.artifact.notes, "fit": fitted.report}
    return MadeBuild(bundle, metrics, verdict, notes, tuple(evaluations))


def _ultralytics(
    source: Source, evaluated: Evaluated, shop: Workshop, folder: Path
) -> dict[str, Any]:
    """The same predictions through Ultralytics' own metrics: its definition of mAP is another."""
    folder.mkdir()
    order, figures = folder / "order.json", folder / "figures.json"
    images = labelled(golden_items(source.dataset), evaluated.seen)
    ultralytics_metrics.write_order(images, source.class_names, order)
    command = [*ultralytics_metrics.CHILD, str(order), str(figures)]
    shop.maker.run_child(command, environment(folder), lambda: None)
    found: dict[str, Any] = json.loads(figures.read_text())
    return definitions_compared(evaluated.metrics, found)


def _robustness(
    bundle: Bundle, source: Source, target: BuildTarget, shop: Workshop, folder: Path
) -> Evaluated:
    assert shop.perturbed is not None  # noqa: S101 - the caller looked
    return shop.perturbed.evaluate(
        bundle,
        shop.runs,
        source.dataset_digest,
        folder / "robustness",
        on_progress=lambda done, total: shop.tell(f"{label(target)}: spoiled images", done, total),
    )
