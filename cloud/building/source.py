"""What a version's builds are made of, fetched together from the registry and the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session

from cloud.access.principal import service_principal
from cloud.blobs.store import BlobStore
from cloud.building.making import BASE_NAME, Base, base_target, label
from cloud.building.targets import BuildTarget, parse
from cloud.building.workshop import Source
from cloud.datasets import service as datasets
from cloud.datasets.service import DatasetManifest, Split
from cloud.errors import InvalidError
from cloud.evaluation.running import link_images
from cloud.registry import golden
from cloud.registry import service as registry
from cloud.registry.models import Build, ModelVersion
from cloud.registry.states import BuildState
from protocol.builds import BuildIdentity, Format
from protocol.bundles import MODEL_FILES, read_manifest

PRINCIPAL = service_principal("building")


@dataclass(frozen=True)
class Known:
    """A version as the registry has it, with the builds that it has already."""

    version: ModelVersion
    builds: tuple[Build, ...]
    dataset: DatasetManifest
    released: bool

    def build_of(self, target: BuildTarget) -> Build | None:
        """The newest build of a target that stands, else the newest of all."""
        wanted = label(target)
        found = [
            build
            for build in self.builds
            if BuildIdentity.model_validate(build.identity).label() == wanted
        ]
        standing = [b for b in found if b.state != BuildState.REJECTED.value]
        chosen = standing or found
        return chosen[-1] if chosen else None

    def side_px(self) -> int:
        """The side that a target has which names none: the first build's."""
        return int(self.builds[0].identity["input_width"]) if self.builds else 640


def known(session: Session, store: BlobStore, model: str, number: int) -> Known:
    """Raises NotFoundError where version or dataset are gone."""
    version = registry.get_version(session, PRINCIPAL, model, number)
    held = datasets.get_version(session, PRINCIPAL, version.dataset, version.dataset_version)
    dataset = datasets.get_dataset(session, PRINCIPAL, version.dataset)
    return Known(
        version=version,
        builds=tuple(registry.builds_of(session, version)),
        dataset=datasets.read_manifest(store, held),
        released=dataset.golden_frames_released,
    )


def source_of(found: Known, store: BlobStore, folder: Path) -> Source:
    """The source of a version's further builds; golden frames are written into `folder`."""
    version = found.version
    lineage: dict[str, Any] = {}
    if found.builds:
        lineage = read_manifest(store.read(found.builds[0].digest)).lineage
    return Source(
        model=version.model,
        number=version.number,
        class_names=found.dataset.class_names,
        weights=store.path(version.weights_sha256),
        weights_format=version.weights_format,
        dataset=found.dataset,
        dataset_digest=version.dataset_digest,
        frames=write_frames(found.dataset, store, folder, released=found.released),
        lineage=lineage,
    )


def write_frames(
    dataset: DatasetManifest, store: BlobStore, folder: Path, *, released: bool
) -> tuple[Path, ...]:
    """Golden frames: those golden images that show the most, where they may travel."""
    chosen: Sequence[Path] = ()
    if released:
        items = sorted(dataset.of(Split.GOLDEN), key=lambda i: (-len(i.boxes), i.image))
        chosen = link_images(items[: golden.FRAMES], store, folder / "images")
    return tuple(golden.write_frames(chosen, folder / "frames"))


def base_of(build: Build, store: BlobStore) -> Base:
    """The base that a registered fp32 ONNX build is."""
    manifest = read_manifest(store.read(build.digest), build.digest)
    path = MODEL_FILES[Format.ONNX][0]
    return Base(
        onnx=store.path(manifest.file(path).sha256),
        opset=int(build.identity.get("opset") or 0),
        head=manifest.head,
    )


def standing_base(found: Known, target: BuildTarget) -> Build | None:
    """The registered base of a target, None where there is none yet.

    Raises:
        InvalidError: there is one, and it was rejected: what is made of it is no better.
    """
    build = found.build_of(base_target(target))
    if build is not None and build.state == BuildState.REJECTED.value:
        raise InvalidError(
            f"the {BASE_NAME} build {build.digest[:12]} of {found.version.model} "
            f"{found.version.number} is rejected",
            "reinstate it with a reason, or train again",
        )
    return build


def parse_all(targets: Sequence[str], side_px: int) -> list[BuildTarget]:
    """The targets that are named, each once, bases first.

    Raises InvalidError where one does not exist.
    """
    parsed = {str(target): target for target in (parse(text, side_px) for text in targets)}
    return sorted(parsed.values(), key=lambda target: target.name != BASE_NAME)
