"""Whether a build that was measured is admitted; where not, what would explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cloud.building.making import base_target, is_base, label
from cloud.building.targets import BuildTarget
from cloud.building.variants import PROBES, REFERENCE_FLOOR, Frame, seen_in_variants, tinted
from cloud.building.workshop import Order, Source, Workshop, as_it_is, golden_items, spec_of
from cloud.datasets.service import Split
from cloud.evaluation.diagnosis import diagnose
from cloud.evaluation.parity import Parity, compare
from cloud.evaluation.running import link_images
from cloud.evaluation.tolerance import Verdict, judge
from cloud.registry.bundles import BundleSpec, begin
from protocol.builds import Precision

PARITY_FLOORS = (0.25, 0.1, 0.05, 0.02)
PARITY_OBJECTS = 8


def verdict_of(
    source: Source,
    order: Order,
    spec: BundleSpec,
    shop: Workshop,
    *,
    metrics: Mapping[str, Any],
    parity: Parity | None,
) -> Verdict:
    """Admitted or not. Why not is looked for where a build fails, and in whatever was made
    elsewhere: it may see well here and take other input than it says."""
    judged = partial(
        judge, metrics, order.baseline, parity,
        tolerance=shop.tolerance, exact=is_exact(order.target), must_see=order.imported,
    )  # fmt: skip
    verdict = judged(())
    original = order.base.reference is not None or not is_base(order.target)
    if (verdict.admitted and not order.brought) or not original:
        return verdict
    faults, hints = _diagnosis(source, order, spec, shop)
    return judged(hints, faults=faults)


def is_exact(target: BuildTarget) -> bool:
    """Whether a build computes as the checkpoint does, so that single answers must agree."""
    return target.precision is target.runtime_precision is Precision.FP32


def parity_of(source: Source, order: Order, shop: Workshop, seen: Sequence[Frame]) -> Parity | None:
    """How near the build is to the original on the golden frames, from the reference's floor
    on; None for an fp32 file that has no checkpoint behind it."""
    reference: Sequence[Frame] | None = order.base.reference
    if reference is None:
        if is_base(order.target):
            return None
        reference = _float_seen(source, order, shop, source.frames, "float")
    kept = [[d for d in frame if d.confidence >= REFERENCE_FLOOR] for frame in seen]
    return compare(reference, kept, _floor(reference))


def _floor(reference: Sequence[Frame]) -> float:
    """The highest floor from which on there is enough to compare: a model may see little in
    frames that are only drawn."""
    for floor in PARITY_FLOORS:
        if sum(d.confidence >= floor for frame in reference for d in frame) >= PARITY_OBJECTS:
            return floor
    return PARITY_FLOORS[-1]


def _diagnosis(
    source: Source, order: Order, spec: BundleSpec, shop: Workshop
) -> tuple[Sequence[str], Sequence[str]]:
    """What is wrong with a build's input, and what else would explain it, in words.

    It is fed golden images that a tint makes tell channels apart, also where all are grey.
    """
    name = label(order.target)
    folder = shop.folder / name / "diagnosis"
    shop.tell(f"{name}: looking for the reason", 0, 0)
    images = link_images(golden_items(source.dataset)[:PROBES], shop.runs.store, folder / "golden")
    probes = tinted(images, folder / "probes")
    reference = _float_seen(source, order, shop, probes, "probes")
    seen = seen_in_variants(order.artifact, spec, probes, shop.runs.agent, folder / "variants")
    faults = diagnose(reference, seen)
    hints: list[str] = []
    if order.target.precision is Precision.INT8:
        items = source.dataset.of(Split.CALIBRATION)
        own = link_images(items, shop.runs.store, folder / "own-images")
        hint = shop.maker.ranges(order.artifact, order.base, own).get("hint")
        hints += [str(hint)] if hint else []
    return faults, hints


def _float_seen(
    source: Source, order: Order, shop: Workshop, frames: Sequence[Path], name: str
) -> Sequence[Frame]:
    """What the fp32 file sees in some frames."""
    folder = shop.folder / label(order.target) / name
    artifact = as_it_is(order.base)
    spec = spec_of(source, base_target(order.target), artifact)
    bundle = begin(folder / "bundle", artifact.files, source.frames).write(spec)
    run = shop.runs.agent.run(bundle.folder, frames, folder / "run", REFERENCE_FLOOR)
    return [result.detections for result in run.results]
