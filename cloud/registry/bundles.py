"""Making a bundle: a folder with its files, and the manifest that names it.

A bundle is made in steps, each of which lets the agent run it as it then is: `begin` lays
the artifact and the golden frames down, `write` puts what is known by then into the
manifest, and whatever a run finds out (thresholds, calibration, expected answers, drift
reference) goes into the next `write`. The last one names the bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cloud.blobs.store import BlobStore
from cloud.registry import golden
from cloud.shipped import ShippedResult, ShippedRunner
from protocol import bundles
from protocol.builds import BuildIdentity
from protocol.bundles import (
    BundleFile,
    Calibration,
    DriftReference,
    GoldenSet,
    Manifest,
    Preprocessing,
    Thresholds,
    read_manifest,
)
from protocol.chunks import describe


@dataclass(frozen=True)
class BundleSpec:
    """What a bundle says of itself, as far as it is known.

    Attributes:
        class_names: in the order of their ids.
        drift: what the build counts where nothing drifts; None until that was counted.
    """

    model: str
    version: int
    class_names: tuple[str, ...]
    identity: BuildIdentity
    head: Literal["end2end", "raw"] = "end2end"
    thresholds: Thresholds = field(default_factory=Thresholds)
    calibration: Calibration | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    drift: DriftReference | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk: `folder` holds its manifest and every file of it."""

    folder: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        return bundles.digest(self.manifest)


@dataclass(frozen=True)
class Draft:
    """A bundle that is being made.

    Attributes:
        files: paths in it of the artifact.
        frames: paths in it of the golden frames.
    """

    folder: Path
    files: tuple[str, ...]
    frames: tuple[str, ...]

    @property
    def frame_paths(self) -> list[Path]:
        return [self.folder / name for name in self.frames]

    def write(self, spec: BundleSpec, golden_set: GoldenSet | None = None) -> Bundle:
        """The bundle with what `spec` says; one that expects nothing yet without a golden set."""
        expected = golden_set or golden.provisional(self.frames)
        (self.folder / bundles.GOLDEN_PATH).write_text(expected.model_dump_json())
        paths = [*self.files, bundles.GOLDEN_PATH, *self.frames]
        if spec.drift is not None:
            (self.folder / bundles.DRIFT_PATH).write_text(spec.drift.model_dump_json())
            paths.append(bundles.DRIFT_PATH)
        manifest = Manifest(
            model=spec.model,
            version=spec.version,
            build=spec.identity,
            head=spec.head,
            class_names=spec.class_names,
            thresholds=spec.thresholds,
            preprocessing=spec.preprocessing,
            calibration=spec.calibration,
            files=tuple(
                BundleFile(path=path, blob=describe((self.folder / path).read_bytes()))
                for path in paths
            ),
            lineage=dict(spec.lineage),
        )
        (self.folder / bundles.MANIFEST_PATH).write_bytes(bundles.canonical(manifest))
        return Bundle(self.folder, manifest)

    def finish(
        self, spec: BundleSpec, agent: ShippedRunner, work: Path
    ) -> tuple[Bundle, list[ShippedResult]]:
        """The bundle for good, and what it sees in its golden frames: it is held to that.

        Raises:
            ChildFailed, ChildCanceled: the run over the golden frames did not end well.
        """
        provisional = self.write(spec)
        run = agent.run(provisional.folder, self.frame_paths, work)
        return self.write(spec, golden.expected(self.frames, run.results)), run.results


def begin(folder: Path, files: Mapping[str, Path], frames: Sequence[Path]) -> Draft:
    """Lay a bundle's files down in `folder`, which is made.

    Args:
        files: the artifact: path in the bundle to where it lies now.
        frames: golden frames as `golden.write_frames` made them.
    """
    (folder / "golden").mkdir(parents=True)
    for path, source in files.items():
        shutil.copyfile(source, folder / path)
    names = [f"{bundles.GOLDEN_FOLDER}/{frame.name}" for frame in frames]
    for name, frame in zip(names, frames, strict=True):
        shutil.copyfile(frame, folder / name)
    return Draft(folder, tuple(files), tuple(names))


def with_preprocessing(spec: BundleSpec, **changes: Any) -> BundleSpec:
    """The spec with another preprocessing, to find out what an artifact was made for."""
    return replace(spec, preprocessing=spec.preprocessing.model_copy(update=changes))


def materialise(store: BlobStore, digest: str, folder: Path) -> Bundle:
    """A registered bundle's folder, its files linked from the store.

    Raises:
        NotFoundError: a blob of it is gone.
        ProtocolError: the manifest is not what `digest` names.
    """
    folder.mkdir(parents=True)
    data = store.read(digest)
    manifest = read_manifest(data, digest)
    (folder / bundles.MANIFEST_PATH).write_bytes(data)
    for file in manifest.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        store.size_bytes(file.blob.sha256)
        target.symlink_to(store.path(file.blob.sha256).absolute())
    return Bundle(folder, manifest)
