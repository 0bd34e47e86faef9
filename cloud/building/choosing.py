"""How much of a quantised build stays in float: as little as the tolerance asks for.

It is chosen on the selection split; the golden one only judges.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cloud.building.making import Artifact, Base, base_target, is_base, label
from cloud.building.targets import BuildTarget
from cloud.building.workshop import Source, Workshop, as_it_is, spec_of
from cloud.datasets.service import Split
from cloud.errors import InvalidError
from cloud.evaluation.running import link_images
from cloud.evaluation.tolerance import Tolerance
from cloud.registry.bundles import begin
from protocol.builds import Precision

ENOUGH = 0.5
"""Of what the tolerance allows to be lost: other images will judge."""


@dataclass(frozen=True)
class Probed:
    """What an artifact scores on the selection split."""

    map50: float
    map50_95: float

    def drop(self, other: Probed, tolerance: Tolerance) -> float:
        """How much worse `other` is, in shares of what the tolerance allows."""
        return max(
            (self.map50 - other.map50) / tolerance.map50_drop_max,
            (self.map50_95 - other.map50_95) / tolerance.map50_95_drop_max,
        )


def choose_artifact(
    source: Source, target: BuildTarget, base: Base, shop: Workshop
) -> tuple[Artifact, dict[str, Any]]:
    """The target's artifact, as little of it in float as the tolerance asks for.

    Returns it with what was tried: the scores on the selection split by rung.

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
    made, found = [artifact], [_probe(source, target, artifact, shop, "0")]
    while wanted.drop(found[-1], shop.tolerance) > ENOUGH and len(made) < artifact.rungs:
        rung = len(made)
        made.append(shop.maker.derived(target, base, images, rung, made[-1].ranking))
        found.append(_probe(source, target, made[-1], shop, str(rung)))
    # More in float is not always better: the best that was seen, of equals the smallest.
    drops = [wanted.drop(one, shop.tolerance) for one in found]
    best = drops.index(min(drops))
    rungs = [asdict(one) for one in found]
    return made[best], {"float": asdict(wanted), "rungs": rungs, "taken": best}


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
) -> Probed:
    """The scores of an artifact on the selection split."""
    items = source.dataset.of(Split.SELECTION)[: shop.settings.probe_images_max]
    if not items:
        raise InvalidError(
            "the dataset has no selection split to choose by", "import it with more images of train"
        )
    shop.tell(f"{label(target)}: choosing what stays in float", 0, 0)
    folder = shop.folder / f"{label(target)}-probe-{name}"
    spec = spec_of(source, target, artifact)
    if name == "float":
        spec = replace(spec, identity=base_target(target).identity(artifact.opset))
    bundle = begin(folder / "bundle", artifact.files, source.frames).write(spec)
    run = shop.runs.labelled_items(bundle, items, "probe", source.dataset_digest, folder / "run")
    return Probed(run.metrics["map50"] or 0.0, run.metrics["map50_95"] or 0.0)
