"""One build of a version: the artifact, what fits it, the bundle, its evaluation, the verdict.

The order is: make the artifact; fit thresholds and calibration with it on the calibration
split; count the drift reference; see the golden frames; evaluate on the golden split; judge.
What an int8 build keeps in float is chosen on the selection split, never on the golden one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cloud.building.making import Artifact, Base, Maker, Tell, base_target, is_base, label
from cloud.building.targets import BuildTarget
from cloud.building.variants import PROBES, REFERENCE_FLOOR, Frame, seen_in_variants, tinted
from cloud.datasets.service import DatasetManifest, Item, Split
from cloud.errors import InvalidError
from cloud.evaluation.average_precision import map50
from cloud.evaluation.diagnosis import diagnose
from cloud.evaluation.matching import match
from cloud.evaluation.parity import Parity, compare
from cloud.evaluation.perturbed import Perturbed
from cloud.evaluation.running import Evaluated, Runs, labelled, link_images
from cloud.evaluation.tolerance import Tolerance, Verdict, judge
from cloud.registry.bundles import Bundle, BundleSpec, begin
from cloud.settings import BuildingSettings
from protocol.builds import Precision


PARITY_FLOORS = (0.25, 0.1, 0.05, 0.02)
PARITY_OBJECTS = 8


@dataclass(frozen=True)
class Source:
    """What the builds of a version are made of.

    Attributes:
        weights_format: `pt` or `onnx`.
        frames: golden frames, as PNG files.
        lineage: what every bundle of it says of where it comes from.
    """

    model: str
    number: int
    class_names: tuple[str, ...]
    weights: Path
    weights_format: str
    dataset: DatasetManifest
    dataset_digest: str
    frames: tuple[Path, ...]
    lineage: Mapping[str, Any]


@dataclass(frozen=True)
class MadeBuild:
    """A build that is ready to be registered, admitted or not."""

    bundle: Bundle
    metrics: dict[str, Any]
    verdict: Verdict
    notes: dict[str, Any]
    evaluations: tuple[Evaluated, ...]


@dataclass(frozen=True)
class Order:
    """What is to be measured.

    Attributes:
        baseline: metrics of the fp32 ONNX build of the same version and input; None for that
            build itself.
        brought: the artifact was made elsewhere.
    """

    target: BuildTarget
    artifact: Artifact
    base: Base
    baseline: Mapping[str, Any] | None = None
    brought: bool = False


@dataclass(frozen=True)
class Workshop:
    """Where and with what builds are made.

    Attributes:
        folder: for the files of this build; made where it is not there.
        perturbed: spoiled golden images; None: the build's robustness is not looked at.
    """

    folder: Path
    runs: Runs
    maker: Maker
    settings: BuildingSettings
    tell: Tell = lambda stage, done, total: None  # noqa: ARG005
    tolerance: Tolerance = field(default_factory=Tolerance)
    perturbed: Perturbed | None = None


def choose_artifact(
    source: Source, target: BuildTarget, base: Base, shop: Workshop
) -> tuple[Artifact, dict[str, Any]]:
    """The target's artifact, as little of it in float as the tolerance asks for.

    Returns it with what was tried: mAP50 on the selection split by rung.

    Raises:
        InvalidError: there are too few images to quantise with.
        ChildFailed, ChildCanceled: a child did not end well.
    """
    if is_base(target):
        return as_it_is(base), {}
    images = _quantisation_images(source, target, shop)
    artifact = shop.maker.derived(target, base, images, 0)
    if artifact.rungs == 1:
        return artifact, {}
    wanted = _probe(source, target, as_it_is(base), shop, "float")
    tried: dict[str, Any] = {"float": wanted, "rungs": []}
    for rung in range(artifact.rungs):
        if rung:
            artifact = shop.maker.derived(target, base, images, rung)
        found = _probe(source, target, artifact, shop, str(rung))
        tried["rungs"].append(found)
        if wanted - found <= shop.tolerance.map50_drop_max / 2:
            break
    return artifact, tried


def measure(source: Source, order: Order, shop: Workshop) -> MadeBuild:
    """Fit, assemble, evaluate and judge an artifact.

    Raises:
        ChildFailed, ChildCanceled: a run did not end well.
    """
    target, name = order.target, label(order.target)
    folder = shop.folder / name
    draft = begin(folder / "bundle", order.artifact.files, source.frames)
    spec = _spec(source, target, order.artifact)
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
    parity = _parity(source, order, shop, [frame.detections for frame in frames_seen])
    metrics["parity"] = None if parity is None else parity.as_dict()
    verdict = _verdict(source, order, spec, shop, metrics=metrics, parity=parity)
    evaluations = [evaluated]
    if verdict.admitted and shop.perturbed is not None:
        robust = _robustness(bundle, source, target, shop, folder)
        metrics["robustness"] = robust.metrics["robustness"]
        evaluations.append(robust)
    notes = {**order.artifact.notes, "fit": fitted.report}
    return MadeBuild(bundle, metrics, verdict, notes, tuple(evaluations))


def as_it_is(base: Base) -> Artifact:
    """The artifact of the base itself."""
    return Artifact({"model.onnx": base.onnx}, base.opset, base.facts, head=base.head)


def _spec(source: Source, target: BuildTarget, artifact: Artifact) -> BundleSpec:
    return BundleSpec(
        model=source.model,
        version=source.number,
        class_names=source.class_names,
        identity=target.identity(artifact.opset),
        head=artifact.head,
        lineage=source.lineage,
    )


def _quantisation_images(source: Source, target: BuildTarget, shop: Workshop) -> list[Path]:
    """The dataset's own images that give an int8 build its ranges: those held out for
    calibration, filled up with images of train, in the order of their digests."""
    if target.precision is not Precision.INT8:
        return []
    held, train = source.dataset.of(Split.CALIBRATION), source.dataset.of(Split.TRAIN)
    chosen = [*held, *train][: shop.settings.quantisation_images_max]
    folder = shop.folder / "quantisation"
    if folder.exists():
        return [folder / f"{item.image}{item.suffix}" for item in chosen]
    return link_images(chosen, shop.runs.store, folder)


def _probe(
    source: Source, target: BuildTarget, artifact: Artifact, shop: Workshop, name: str
) -> float:
    """mAP50 of an artifact on the selection split."""
    items = source.dataset.of(Split.SELECTION)[: shop.settings.probe_images_max]
    if not items:
        raise InvalidError(
            "the dataset has no selection split to choose by", "import it with more images of train"
        )
    shop.tell(f"{label(target)}: choosing what stays in float", 0, 0)
    folder = shop.folder / f"{label(target)}-probe-{name}"
    spec = _spec(source, target, artifact)
    if name == "float":
        spec = replace(spec, identity=base_target(target).identity(artifact.opset))
    bundle = begin(folder / "bundle", artifact.files, source.frames).write(spec)
    run = shop.runs.labelled_items(bundle, items, "probe", source.dataset_digest, folder / "run")
    return float(map50(match(labelled(items, run.seen))))


def _verdict(
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
    exact = is_exact(order.target)
    verdict = judge(metrics, order.baseline, parity, (), shop.tolerance, exact=exact)
    if verdict.admitted and not order.brought:
        return verdict
    faults, hints = _diagnosis(source, order, spec, shop)
    return judge(metrics, order.baseline, parity, hints, shop.tolerance, exact=exact, faults=faults)


def is_exact(target: BuildTarget) -> bool:
    """Whether a build computes as the checkpoint does, so that single answers must agree."""
    return target.precision is target.runtime_precision is Precision.FP32


def _parity(source: Source, order: Order, shop: Workshop, seen: Sequence[Frame]) -> Parity | None:
    """How near the build is to the original on the golden frames, from the reference's floor
    on; None for an fp32 file that has no checkpoint behind it."""
    reference: Sequence[Frame] | None = order.base.reference
    if reference is None:
        if is_base(order.target):
            return None
        reference = _float_seen(source, order, shop, source.frames, "float")
    kept = [[d for d in frame if d.confidence >= REFERENCE_FLOOR] for frame in seen]
    return compare(reference, kept, _parity_floor(reference))


def _parity_floor(reference: Sequence[Frame]) -> float:
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
    if order.target.precision is Precision.INT8 and "model.onnx" in order.artifact.files:
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
    spec = _spec(source, base_target(order.target), artifact)
    bundle = begin(folder / "bundle", artifact.files, source.frames).write(spec)
    run = shop.runs.agent.run(bundle.folder, frames, folder / "run", REFERENCE_FLOOR)
    return [result.detections for result in run.results]


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


def golden_items(dataset: DatasetManifest) -> tuple[Item, ...]:
    """The images that judge. Raises InvalidError where there are none."""
    items = dataset.of(Split.GOLDEN)
    if not items:
        raise InvalidError("the dataset has no golden images", "import it with a val split")
    return items
