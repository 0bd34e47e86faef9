"""What builds are made of, and where and with what: the words of the building room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud.building.making import Artifact, Base, Maker, Tell
from cloud.building.targets import BuildTarget
from cloud.datasets.service import DatasetManifest, Item, Split
from cloud.errors import InvalidError
from cloud.evaluation.perturbed import Perturbed
from cloud.evaluation.running import Evaluated, Runs
from cloud.evaluation.tolerance import Tolerance, Verdict
from cloud.registry.bundles import Bundle, BundleSpec
from cloud.settings import BuildingSettings


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
        imported: it is of a model from outside, of which nothing is known but what it finds.
    """

    target: BuildTarget
    artifact: Artifact
    base: Base
    baseline: Mapping[str, Any] | None = None
    brought: bool = False
    imported: bool = False


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


def as_it_is(base: Base) -> Artifact:
    """The artifact of the base itself."""
    return Artifact({"model.onnx": base.onnx}, base.opset, base.facts, head=base.head)


def spec_of(source: Source, target: BuildTarget, artifact: Artifact) -> BundleSpec:
    return BundleSpec(
        model=source.model,
        version=source.number,
        class_names=source.class_names,
        identity=target.identity(artifact.opset).model_copy(update=dict(artifact.bound)),
        head=artifact.head,
        lineage=source.lineage,
    )


def golden_items(dataset: DatasetManifest) -> tuple[Item, ...]:
    """The images that judge. Raises InvalidError where there are none."""
    items = dataset.of(Split.GOLDEN)
    if not items:
        raise InvalidError("the dataset has no golden images", "import it with a val split")
    return items
